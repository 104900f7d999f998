#!/usr/bin/env bash
# Every test: the Go program of the local cluster, then pytest on the package, the protocol, Docker and a cluster.
# Arguments go to pytest, which then runs once.
set -euo pipefail
shopt -s extglob
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Two cores are busy with that many; more would make kernels miss their start.
readonly AT_ONCE=3

go test -C ci/cluster ./...
.venv/bin/python -m ci.clusters up
.venv/bin/python -m ci.images
if (($# > 0)); then
  cd python
  exec ../.venv/bin/pytest "$@"
fi
.venv/bin/python -m ci.docker_engine up
cd python
at_once() {
  ../.venv/bin/pytest --numprocesses="${AT_ONCE}" --dist=loadfile --no-loadscope-reorder "$@"
}
# Tests that break the cluster would break those that share it. Beside them are those that have nothing to do with it.
at_once tests/cluster --ignore=tests/cluster/alone
at_once tests/cluster/alone tests/!(cluster)/
