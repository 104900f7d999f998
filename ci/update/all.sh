#!/usr/bin/env bash
# Makes again everything in the repository that is made from something else in it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

for script in *.sh; do
  [[ ${script} == all.sh ]] || "./${script}"
done
