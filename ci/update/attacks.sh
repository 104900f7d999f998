#!/usr/bin/env bash
# The tests of each attack in docs/security.md, from the marks of the tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

.venv/bin/python -B ci/update/attacks_page.py
