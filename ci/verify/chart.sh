#!/usr/bin/env bash
# Check the chart: its README is up to date, Helm 4 and Helm 3 accept it with all values files, and its objects are valid
# in every supported version of Kubernetes and meet Pod Security `restricted`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
chart=charts/gateway-provisioners

.venv/bin/python ci/update/chart_readme.py --check

# Use programs on PATH; otherwise ci/cluster builds them.
if ! hash helm4 helm3 pod-security 2>/dev/null; then
  PATH=${PATH}:$(ci/cluster/cluster.sh bin)
fi
# A Helm that was built without the flags of a release would assume a very old cluster.
version=(--kube-version 1.34.4)
objects=$(mktemp)
trap 'rm -f "${objects}"' EXIT
failed=0
# Runs a command on one values file and shows its output if it fails.
check() {
  if ! output=$("${@:2}" 2>&1); then
    printf '%s with %s:\n%s\n' "$2" "$1" "${output}"
    failed=1
  fi
}
for values in "${chart}/values.yaml" "${chart}"/ci/*-values.yaml; do
  for helm in helm4 helm3; do
    check "${values}" "${helm}" lint --strict --quiet "${version[@]}" --values "${values}" "${chart}"
  done
  helm4 template gateway "${chart}" "${version[@]}" --values "${values}" >"${objects}"
  check "${values}" .venv/bin/python -m ci.check_manifests <"${objects}"
  check "${values}" pod-security <"${objects}"
done
exit "${failed}"
