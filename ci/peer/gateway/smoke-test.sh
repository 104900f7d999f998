#!/bin/bash
# Run inside the image, as its user: the gateway starts and knows its kernels.
set -euo pipefail
[[ "$(id -u)" == 1000 ]]
jupyter kernelgateway --version > /dev/null
jupyter kernelspec list | grep -q k8s_python
jupyter kernelspec list | grep -q ours
