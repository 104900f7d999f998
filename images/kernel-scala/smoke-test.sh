#!/bin/bash
# Run inside the image, as its user: the parts of a Scala kernel work together, and no build files are left.
set -euo pipefail
fail() { echo "smoke test: $*" >&2; exit 1; }

[[ "$(id -u):$(id -g)" == 1000:100 ]] || fail "the user is $(id)"

# The support files are where custom-kernel-images.md says, and the bootstrap script refuses missing parameters.
owner="$(stat --format=%U:%G:%a /usr/local/bin/bootstrap-kernel.sh)"
[[ "${owner}" == jovyan:users:755 ]] || fail "bootstrap-kernel.sh is ${owner}"
[[ -z "$(find /usr/local/bin/kernel-launchers ! -user jovyan)" ]] || fail "a launcher is not jovyan's"
code=0
output="$(env -u KERNEL_ID /usr/local/bin/bootstrap-kernel.sh 2>&1)" || code=$?
[[ "${code}" == 64 ]] || fail "bootstrap-kernel.sh without parameters exits with ${code}: ${output}"
if python -c 'import gateway_provisioners' 2>/dev/null; then
  fail "the Python package is in the image"
fi

leftovers="$(find /root "${HOME}/.cache" /tmp /var/lib/apt/lists /var/cache/apt /etc/apt/sources.list.d \
  \( -name '*.whl' -o -name '*.jar' -o -path '*/.cache/*' -o -path '*/lists/*' -o -path '/var/cache/apt/*' -o -name 'build.list' \) \
  -type f -size +0 2>/dev/null || true)"
[[ -z "${leftovers}" ]] || fail "left from the build: ${leftovers}"

# The launcher, Toree and Spark start, and stop where a launch needs a gateway.
code=0
output="$(KERNEL_LANGUAGE=scala KERNEL_ID=smoke-test RESPONSE_ADDRESS=127.0.0.1:9 RESPONSE_ATTEMPTS=1 \
  PUBLIC_KEY="M$(printf 'A%.0s' {1..63})" KERNEL_LAUNCH_KEY="$(printf 'A%.0s' {1..43})=" \
  KERNEL_SPARK_CONTEXT_INIT_MODE=eager /usr/local/bin/bootstrap-kernel.sh 2>&1)" || code=$?
[[ "${code}" == 70 && "${output}" == *"toree-launcher: the gateway cannot be reached"* ]] ||
  fail "a launch ends with ${code}: ${output}"
