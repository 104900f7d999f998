#!/bin/bash
# Run inside the image, as its user: the gateway's program is complete, and no build files are left.
set -euo pipefail
fail() { echo "smoke test: $*" >&2; exit 1; }

[[ "$(id -u):$(id -g)" == 1000:100 ]] || fail "the user is $(id)"
[[ -x "$(command -v tini)" && ! -r "$(command -v tini)" ]] || fail "the user can read tini, and so its environment"
python -m pip check
jupyter-gateway --version
python - <<'PYTHON'
from importlib.metadata import entry_points

for engine in ("kubernetes", "docker", "docker-swarm"):
    name = f"{engine}-provisioner"
    (provisioner,) = entry_points(group="jupyter_client.kernel_provisioners", name=name)
    provisioner.load()
PYTHON

leftovers="$(find /root "${HOME}/.cache" /tmp /var/lib/apt/lists \( -name '*.whl' -o -path '*/.cache/*' -o -path '*/lists/*' \) \
  -type f -size +0 2>/dev/null || true)"
[[ -z "${leftovers}" ]] || fail "left from the build: ${leftovers}"
