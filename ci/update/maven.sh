#!/usr/bin/env bash
# List the Maven artifacts that the Scala launcher is built with, by checksum, when its pom.xml has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
.venv/bin/python -m ci.scala_launcher artifacts
