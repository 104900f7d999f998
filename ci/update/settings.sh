#!/usr/bin/env bash
# The tables of docs/settings.md, from the declarations of the settings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

PYTHONPATH=python .venv/bin/python -B ci/update/settings_page.py
