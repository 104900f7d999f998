#!/bin/bash
# Run inside the image, as its user: the launcher is where the peer's bootstrap script looks for it.
set -euo pipefail
[[ "$(id -u)" == 1000 ]]
[[ -x /usr/local/bin/bootstrap-kernel.sh ]]
python /usr/local/bin/kernel-launchers/python/scripts/launch_ipykernel.py --help > /dev/null
