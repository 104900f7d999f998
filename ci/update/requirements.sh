#!/usr/bin/env bash
# Resolve what the project environment and the images install, for every Python from 3.10 on.
# Versions that are pinned already are kept where they still fit; `--upgrade` as an argument looks for newer ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

resolve() {
  .venv/bin/uv pip compile --quiet --universal --python-version 3.10 --no-annotate \
    --custom-compile-command ci/update/requirements.sh "$@"
}

resolve "$@" --strip-extras --extra test --extra lint --extra release python/pyproject.toml python/client/pyproject.toml --output-file python/constraints.txt

# The images install the same versions, and only files with these hashes.
for image in kernel-py kernel-r kernel-scala gateway; do
  # An image's own requirements beside our wheel's. `gateway` has none: it is two extras of the wheel.
  case "${image}" in
    kernel-r | kernel-scala) wishes=(python/pyproject.toml) ;; # while it is built
    kernel-py) wishes=(python/pyproject.toml images/kernel-py/requirements.in) ;;
    gateway) wishes=(--extra gateway --extra docker python/pyproject.toml) ;;
  esac
  resolve "$@" --generate-hashes --constraint python/constraints.txt "${wishes[@]}" \
    --output-file "images/${image}/requirements.txt"
done
