"""The client's part of the environment that jupyter_client passes."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Set by jupyter_client and jupyter_kernel_gateway for a kernel on the same machine.
_FOR_LOCAL_KERNELS = frozenset({"JPY_PARENT_PID", "JPY_INTERRUPT_EVENT", "KERNEL_GATEWAY", "PATH"})


def client_environment(
    passed: Mapping[str, str] | None, own: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the client's variables.

    A Jupyter server or gateway passes the client's variables alone, or with a copy of its own environment, or
    nothing at all; a kernel must get nothing of the process's own. Only KERNEL_* is taken from that: with it,
    an administrator or a JupyterHub spawner names the user of a single-user server.
    """
    return {
        name: value
        for name, value in (own if passed is None else passed).items()
        if name.startswith("KERNEL_") or (own.get(name) != value)
        if name not in _FOR_LOCAL_KERNELS
    }
