"""Programs of a kernelspec that run beside this process: above all, a launch script that replaces ours.

The script is a scripts/launch_kubernetes.py that is not the one we ship.

The script makes a Pod named KERNEL_POD_NAME in KERNEL_NAMESPACE, labelled `component: kernel`, like that of
Gateway Provisioners. It gets KERNEL_* variables and access to the cluster, and no keys: its launcher speaks
version 1 of the wire protocol, which needs none. In KERNEL_POD_METADATA it finds labels and more that it can
give the Pod; otherwise the Pod is marked with them after the script has ended.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from traitlets.config import LoggingConfigurable

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.failures import last_lines
from gateway_provisioners.model.kernelspec import KUBERNETES, NO_FOLDER
from gateway_provisioners.settings import from_env

_CLUSTER_ACCESS = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBECONFIG")


class KernelspecPrograms(LoggingConfigurable):
    """The administrator's trust in those who write kernelspecs; nothing that a kernelspec can set."""

    launch_scripts = from_env(
        "GP_LAUNCH_SCRIPTS",
        True,
        "Run programs of kernelspecs beside this process, with its user and its access to the cluster: "
        "launch scripts that were replaced, and kernels of `local-provisioner`.",
    )

    def check(self, program: str) -> None:
        """Check that a kernelspec's program may run.

        Args:
            program: the beginning of a sentence about it.

        Raises:
            LaunchFailed: it may not.
        """
        if not self.launch_scripts:
            msg = (
                f"{program}; this gateway does not run it, since those who write kernelspecs would have the "
                "gateway's rights. Install the kernelspec again with --replace, or trust them with "
                "kernelspecs.launchScripts: true in the chart's values (GP_LAUNCH_SCRIPTS)."
            )
            raise LaunchFailed("LaunchScript", msg)


def replaced_script(kernel_spec: KernelSpec) -> Path | None:
    """Return the kernelspec's launch script, unless it is the one we ship or does not exist."""
    if kernel_spec.resource_dir == NO_FOLDER:  # what is there under its name belongs to another one
        return None
    ours = resources.files("gateway_provisioners").joinpath("_kernelspecs/launch_kubernetes.py")
    for argument in kernel_spec.argv:
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
        msg = (
            f"The kernelspec's own launch script exited with code {process.returncode}. "
            f"The last lines that it printed:\n{last_lines(output.decode('utf-8', 'replace'))}"
        )
        raise LaunchFailed("LaunchScript", msg)
