#!/bin/bash
# Run inside the image, as its user: the product's own check.
set -euo pipefail
[[ "$(id -u):$(id -g)" == 1000:100 ]]
jupyter image-bootstrap check --languages python
