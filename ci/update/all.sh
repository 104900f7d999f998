#!/usr/bin/env bash
# Regenerates every generated file of the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

for script in *.sh; do
  [[ ${script} == all.sh ]] || "./${script}"
done
