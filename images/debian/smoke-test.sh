#!/bin/bash
# Run inside the image: Debian, root, and nothing left of the machine that built it.
set -euo pipefail
fail() { echo "smoke test: $*" >&2; exit 1; }

[[ "$(id -u)" == 0 ]] || fail "the user is $(id)"
# shellcheck source=/dev/null
source /etc/os-release
[[ "${ID} ${VERSION_CODENAME}" == "debian bookworm" ]] || fail "this is ${PRETTY_NAME}"
[[ ! -s /etc/apt/sources.list && -z "$(find /etc/apt/sources.list.d -type f)" ]] || fail "an apt source of the build is left"
