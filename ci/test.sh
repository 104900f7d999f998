#!/usr/bin/env bash
# Every test: the Go program of the local cluster, then pytest on the package, the protocol, Docker and a cluster.
# Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

go test -C ci/cluster ./...
.venv/bin/python -m ci.clusters up
.venv/bin/python -m ci.docker_engine up
.venv/bin/python -m ci.images
cd python
exec ../.venv/bin/pytest "$@"
