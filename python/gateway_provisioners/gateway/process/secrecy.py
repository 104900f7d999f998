"""The memory and the environment of this process, which hold the token and the keys of all kernels."""

from __future__ import annotations

import ctypes

_PR_SET_DUMPABLE = 4


def hide_memory() -> None:
    """Keep this process's memory and environment from other processes of the same user, as in /proc.

    They include the launch scripts and kernels that run beside the gateway. A process that may trace any
    other (CAP_SYS_PTRACE, CAP_PERFMON) is not kept out.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:  # Linux
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
