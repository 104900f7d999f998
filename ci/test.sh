#!/usr/bin/env bash
# Runs tests:
#   ci/test.sh             the tests of every change: the local cluster's program, then pytest on all suites
#   ci/test.sh fast        those that need no cluster, no engine and no image, without the slow ones
#   ci/test.sh all         the tests of every change and those of a release
#   ci/test.sh soak        an hour of random clients, then a hundred faults on a cluster; GP_SOAK_SEED and
#                          GP_FAULTS_SEED repeat them
#   ci/test.sh ARGUMENT... pytest once with these arguments, with a cluster and images
# Each run of pytest ends with its slowest tests, the minutes of each suite and, as the last line, its result.
set -euo pipefail
shopt -s extglob
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Keeps two cores busy; with more, kernels would miss their launch timeout.
readonly AT_ONCE=3

# timed NAME COMMAND...: run a step, then print the minutes it took
timed() {
  local -r start=${SECONDS}
  "${@:2}"
  local -r tenths=$(((SECONDS - start + 3) / 6))
  echo "${1}: $((tenths / 10)).$((tenths % 10)) minutes"
}

cluster_and_images() {
  timed "the cluster" .venv/bin/python -m ci.clusters up
  timed "the images" .venv/bin/python -m ci.images
}

run() {
  (cd python && exec ../.venv/bin/pytest --durations=15 "$@")
}

at_once() {
  run --numprocesses="${AT_ONCE}" --dist=loadfile --no-loadscope-reorder "$@"
}

# suites MARKS: run all suites, without the tests that the marks exclude
suites() {
  timed "the local cluster's program" go test -C ci/cluster ./...
  cluster_and_images
  timed "the Docker engine" .venv/bin/python -m ci.docker_engine up
  # Tests that break the cluster would break others that use it: beside them run only suites that do not.
  timed "tests/cluster and tests/clients" at_once -m "$1" tests/cluster tests/clients --ignore=tests/cluster/alone
  local -r others=(python/tests/!(cluster|clients)/)
  at_once -m "$1" tests/cluster/alone "${others[@]#python/}"
}

soak() {
  GP_SOAK_SECONDS=${GP_SOAK_SECONDS:-3600} run tests/api/test_api_soak.py --timeout=0 --log-cli-level=WARNING
  export GP_FAULTS=100 GP_FAULTS_SEED=${GP_FAULTS_SEED:-$(date +%s)}
  run tests/cluster/alone/test_faults.py -k many --timeout=0 --log-cli-level=WARNING
}

case ${1:-} in
  "") suites "not release" ;;
  fast) at_once --hypothesis-profile=fast -m "not slow and not release" tests/unit tests/api tests/protocol tests/fuzz ;;
  all)
    suites ""
    soak
    ;;
  soak)
    cluster_and_images
    soak
    ;;
  *)
    cluster_and_images
    run "$@"
    ;;
esac
