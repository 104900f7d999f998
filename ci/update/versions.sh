#!/usr/bin/env bash
# The version, in all places that repeat it, from python/gateway_provisioners/_version.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

.venv/bin/python ci/update/versions.py
