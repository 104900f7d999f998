#!/usr/bin/env bash
# Generate the table of values in the chart's README from the comments of values.yaml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

.venv/bin/python ci/update/chart_readme.py
