"""A kernelspec's own launch procedure: a scripts/launch_kubernetes.py that is not the one we ship.

The script makes a Pod named KERNEL_POD_NAME in KERNEL_NAMESPACE, labelled `component: kernel`, like that of
Gateway Provisioners. It gets KERNEL_* variables and access to the cluster, and no keys: its launcher speaks
version 1 of the wire protocol, which needs none.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.kernelspec import KUBERNETES

_CLUSTER_ACCESS = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBECONFIG")
_LAST_LINES = 20


def replaced_script(argv: Sequence[str]) -> Path | None:
    """Return the launch script that `argv` names, unless it is the one we ship or does not exist."""
    ours = resources.files("gateway_provisioners").joinpath("_kernelspecs/launch_kubernetes.py")
    for argument in argv:
        path = Path(argument)
        if argument.endswith(KUBERNETES.launch_script) and path.is_absolute() and path.is_file():
            return path if path.read_bytes() != ours.read_bytes() else None
    return None


async def run_launch_script(
    argv: Sequence[str], values: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    """Run a kernelspec's argv and wait for its end.

    Args:
        values: those of {kernel_id}, {port_range}, {response_address} and {public_key}.
        environment: the KERNEL_* variables.

    Raises:
        LaunchFailed: it failed; the message has the last lines that it printed.
    """
    command = [
        re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), argument)
        for argument in argv
    ]
    if command[0] in {"python", "python3"}:
        command[0] = sys.executable
    access = {name: os.environ[name] for name in _CLUSTER_ACCESS if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**access, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode:
        last_lines = "\n".join(output.decode("utf-8", "replace").splitlines()[-_LAST_LINES:])
        msg = (
            f"The kernelspec's own launch script exited with code {process.returncode}. "
            f"The last lines that it printed:\n{last_lines}"
        )
        raise LaunchFailed("LaunchScript", msg)
