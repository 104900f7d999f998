#!/bin/bash
# Run inside the image, as its user: no docker-stacks conventions, and the product's own check passes.
set -euo pipefail
[[ "$(id -un):$(id -u):${HOME:-}" == analyst:2000:/home/analyst ]]
[[ -z "${NB_UID:-}" ]]
jupyter image-bootstrap check --languages python
