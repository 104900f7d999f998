#!/bin/bash
set -euo pipefail
docker-registry --version
