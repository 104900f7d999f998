"""Which part of the environment that jupyter_client hands over came from the client."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Set by jupyter_client and jupyter_kernel_gateway for a kernel on the same host.
_HOSTS_OWN = frozenset({"JPY_PARENT_PID", "JPY_INTERRUPT_EVENT", "KERNEL_GATEWAY", "PATH"})


def client_environment(
    handed_over: Mapping[str, str] | None, own: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The client's variables.

    Hosts pass the client's variables alone, or mixed into a copy of their own environment, or nothing
    at all; a kernel must get nothing of the gateway's own. Of that only KERNEL_* is taken, which is
    how an administrator or a JupyterHub spawner says who the user of a single-user server is.
    """
    return {
        name: value
        for name, value in (own if handed_over is None else handed_over).items()
        if name.startswith("KERNEL_") or (own.get(name) != value)
        if name not in _HOSTS_OWN
    }
