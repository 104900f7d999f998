#!/usr/bin/env bash
# Fuzzes every decoder of hostile bytes, round after round with other examples, until the time is up or one
# fails. FUZZ_MINUTES (10) is the time, FUZZ_EXAMPLES (1000) the size of a round, FUZZ_SEED the first round's
# seed; further arguments are pytest's. What fails is kept in python/.hypothesis and tried first the next time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../python"

export FUZZ_EXAMPLES=${FUZZ_EXAMPLES:-1000}
seed=${FUZZ_SEED:-$(date +%s)}
readonly end=$((SECONDS + 60 * ${FUZZ_MINUTES:-10}))

while true; do
  echo "seed ${seed}"
  if ! ../.venv/bin/pytest --quiet --numprocesses=2 --dist=loadfile --hypothesis-profile=fuzz \
    --hypothesis-seed="${seed}" tests/fuzz "$@"; then
    echo "To repeat this failure: make fuzz FUZZ_SEED=${seed} FUZZ_EXAMPLES=${FUZZ_EXAMPLES}" >&2
    exit 1
  fi
  [[ ${SECONDS} -lt ${end} ]] || break
  seed=$((seed + 1))
done
