#!/bin/bash
# Run inside the image: the configuration is valid.
set -euo pipefail
haproxy -c -f /etc/haproxy/haproxy.cfg
