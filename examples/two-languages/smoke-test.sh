#!/bin/bash
# Run inside the image, as its user: the product's own check, for both languages.
set -euo pipefail
jupyter image-bootstrap check --languages python --languages r
