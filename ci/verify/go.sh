#!/usr/bin/env bash
# Go: format, and vet of the cluster program. ci/cluster/binaries, a few lines around the programs that the
# cluster consists of, is not vetted: that would analyse all of Kubernetes, which takes minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

changes=$(gofmt -d ci)
if [[ -n ${changes} ]]; then
  echo "${changes}"
  exit 1
fi
go vet -C ci/cluster ./...
