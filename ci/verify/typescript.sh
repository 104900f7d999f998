#!/usr/bin/env bash
# TypeScript: types (tsc, strict) and rules (eslint) of JupyterLab's extension.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

.venv/bin/python -m ci.labextension check
