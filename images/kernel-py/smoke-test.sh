#!/bin/bash
# Run inside the image, as its user: a kernel starts fast from the documented files, and no build files are left.
set -euo pipefail
fail() { echo "smoke test: $*" >&2; exit 1; }

[[ "$(id -u):$(id -g)" == 1000:100 ]] || fail "the user is $(id)"
python -m pip check

# The support files are where custom-kernel-images.md says, and the bootstrap script refuses missing parameters.
owner="$(stat --format=%U:%G:%a /usr/local/bin/bootstrap-kernel.sh)"
[[ "${owner}" == jovyan:users:755 ]] || fail "bootstrap-kernel.sh is ${owner}"
[[ -z "$(find /usr/local/bin/kernel-launchers ! -user jovyan)" ]] || fail "a launcher is not jovyan's"
code=0
output="$(env -u KERNEL_ID /usr/local/bin/bootstrap-kernel.sh 2>&1)" || code=$?
[[ "${code}" == 64 ]] || fail "bootstrap-kernel.sh without parameters exits with ${code}: ${output}"

jupyter image-bootstrap check --languages python

# Kernels start from bytecode: compiling ipykernel and IPython would take longer than the start itself.
python - <<'PYTHON'
import importlib.util
import pathlib
import sys
import sysconfig

folders = [pathlib.Path(sysconfig.get_path("purelib")), pathlib.Path("/usr/local/bin/kernel-launchers")]
stale = []
for source in (path for folder in folders for path in folder.rglob("*.py")):
    bytecode = pathlib.Path(importlib.util.cache_from_source(source))
    try:
        stamp = int.from_bytes(bytecode.read_bytes()[8:12], "little")
    except OSError:
        stamp = None
    # Sources that no Python of this version can compile (templates, tests of syntax errors) have none.
    if stamp != int(source.stat().st_mtime) & 0xFFFFFFFF:
        try:
            compile(source.read_bytes(), source, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        stale.append(str(source))
if stale:
    sys.exit(f"smoke test: {len(stale)} modules without fresh bytecode, for example {stale[:3]}")
PYTHON

python - <<'PYTHON'
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")
output = []
client.execute_interactive("print(6 * 7)", output_hook=output.append, timeout=30)
client.stop_channels()
manager.shutdown_kernel()
text = "".join(message["content"]["text"] for message in output if message["msg_type"] == "stream")
assert text == "42\n", text
PYTHON

leftovers="$(find /root "${HOME}/.cache" /tmp /var/lib/apt/lists \( -name '*.whl' -o -path '*/.cache/*' -o -path '*/lists/*' \) \
  -type f -size +0 2>/dev/null || true)"
[[ -z "${leftovers}" ]] || fail "left from the build: ${leftovers}"
