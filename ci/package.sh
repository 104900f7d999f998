#!/usr/bin/env bash
# What a release publishes, into dist/: the wheel, the sdist and the chart's archive.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

.venv/bin/python -m ci.scala_launcher >/dev/null
helm=$(command -v helm) || helm=$(ci/cluster/cluster.sh bin)/helm
.venv/bin/uv build --quiet python --out-dir dist
"${helm}" package charts/gateway-provisioners --destination dist
ls -l dist
