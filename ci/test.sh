#!/usr/bin/env bash
# Every test: the Go program of the local cluster, then pytest on the package, the protocol, Docker and a cluster.
# Arguments go to pytest, which then runs once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Most tests wait most of the time, each module for a release of its own.
readonly AT_ONCE=3

go test -C ci/cluster ./...
.venv/bin/python -m ci.clusters up
.venv/bin/python -m ci.docker_engine up
.venv/bin/python -m ci.images
cd python
if (($# > 0)); then
  exec ../.venv/bin/pytest "$@"
fi
../.venv/bin/pytest --numprocesses="${AT_ONCE}" --dist=loadfile -m "not alone"
exec ../.venv/bin/pytest -m alone
