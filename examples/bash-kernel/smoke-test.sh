#!/bin/bash
# Run inside the image, as its user: the product's own check, with the only launcher.
set -euo pipefail
[[ "$(ls /usr/local/bin/kernel-launchers)" == bash ]]
jupyter image-bootstrap check
