#!/usr/bin/env bash
# Generated files are up to date: run ci/update in a copy of the repository and show any difference.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

work=$(mktemp -d)
trap 'rm -rf "${work}"' EXIT
mkdir "${work}/as-it-is"
git ls-files -z --cached --others --exclude-standard |
  tar --create --null --files-from=- --ignore-failed-read | tar --extract --directory "${work}/as-it-is"
cp --archive "${work}/as-it-is" "${work}/made-again"
ln -s "${PWD}/.venv" "${work}/made-again/.venv"

"${work}/made-again/ci/update/all.sh"
rm "${work}/made-again/.venv"
if ! diff --recursive --unified "${work}/as-it-is" "${work}/made-again"; then
  echo "Run ci/update/all.sh and commit what it changes." >&2
  exit 1
fi
