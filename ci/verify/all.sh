#!/usr/bin/env bash
# Runs the checks of this folder (or those that are named: `all.sh python go`), all of them even when
# some fail, and says at the end which did. Silent checks passed; the exit code is 1 when one failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

checks=("$@")
if [[ ${#checks[@]} -eq 0 ]]; then
  for script in *.sh; do
    [[ ${script} == all.sh ]] || checks+=("${script%.sh}")
  done
fi

output=$(mktemp)
trap 'rm -f "${output}"' EXIT
failed=()
for check in "${checks[@]}"; do
  start=${SECONDS}
  if "./${check}.sh" >"${output}" 2>&1; then
    echo "ok      ${check} ($((SECONDS - start)) s)"
  else
    echo "FAILED  ${check} ($((SECONDS - start)) s): ci/verify/${check}.sh"
    sed 's/^/        /' "${output}"
    failed+=("${check}")
  fi
done

if [[ ${#failed[@]} -gt 0 ]]; then
  echo "${#failed[@]} of ${#checks[@]} checks failed: ${failed[*]}" >&2
  exit 1
fi
