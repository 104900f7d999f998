#!/usr/bin/env bash
# The golden vectors of the wire protocol, which the launchers of every language must pass.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

.venv/bin/python launchers/protocol/generate_vectors.py
