#!/usr/bin/env bash
# Words: the rules for text in CONTRIBUTING.md that a machine can check.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

.venv/bin/python -m ci.check_words
