#!/usr/bin/env bash
# The chart: its README is fresh, and Helm 4 and Helm 3 find nothing to complain of, whatever the values.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
chart=charts/gateway-provisioners

.venv/bin/python ci/update/chart_readme.py --check

# Helms on PATH first; ci/cluster builds what is missing.
if ! command -v helm4 helm3 >/dev/null; then
  PATH=${PATH}:$(ci/cluster/cluster.sh bin)
fi
failed=0
for helm in helm4 helm3; do
  for values in "${chart}/values.yaml" "${chart}"/ci/*-values.yaml; do
    # A Helm that was built without its release's flags would take the cluster for an ancient one.
    if ! output=$("${helm}" lint --strict --quiet --kube-version 1.34.4 --values "${values}" "${chart}" 2>&1); then
      printf '%s with %s:\n%s\n' "${helm}" "${values}" "${output}"
      failed=1
    fi
  done
done
exit "${failed}"
