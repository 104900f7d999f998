"""Warns the user of a busy kernel, in the notebook, before the kernel runs out of memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol
from weakref import WeakKeyDictionary

from tornado.ioloop import PeriodicCallback

from gateway_provisioners.gateway.failures import summarize
from gateway_provisioners.model.usage import Usage

# More than the age that an answer may have, so that each look gets new ones.
LOOK_SECONDS = 6.0
WARNING_SHARE = 0.95
# Kernels that are asked at the same time.
_AT_ONCE = 16

_log = logging.getLogger(__name__)


class WatchedKernel(Protocol):
    """A kernel, as far as the watch of its memory needs it."""

    kernel_id: str

    @property
    def workload_name(self) -> str: ...

    @property
    def memory_advice(self) -> str: ...

    async def usage(self) -> Usage | None: ...

    def announce(self, text: str) -> None: ...


class MemoryWatch:
    """Looks at the memory of kernels every 6 seconds, and warns once for each process of a kernel.

    Each gateway warns the clients that are connected to it, and no others, so none is warned twice.

    Args:
        busy_kernels: returns the kernels to look at.
    """

    def __init__(self, busy_kernels: Callable[[], Iterable[WatchedKernel]]) -> None:
        self._busy_kernels = busy_kernels
        self._timer: PeriodicCallback | None = None
        # By kernel, the workload whose user was warned.
        self._warned: WeakKeyDictionary[WatchedKernel, str] = WeakKeyDictionary()

    def start(self) -> None:
        """Look from now on, unless this was started before."""
        if self._timer is None:
            self._timer = PeriodicCallback(self.look, 1000 * LOOK_SECONDS)
            self._timer.start()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.stop()

    async def look(self) -> None:
        """Ask the kernels that no warning was given for, and warn where it is due."""
        kernels = iter(
            [each for each in self._busy_kernels() if self._warned.get(each) != each.workload_name]
        )

        async def ask() -> None:
            for kernel in kernels:
                try:
                    await self._look_at(kernel)
                except Exception as error:  # noqa: BLE001 - the next kernel has to be asked as well
                    _log.warning(
                        "The memory of kernel %s cannot be watched: %s",
                        kernel.kernel_id,
                        summarize(error),
                    )

        await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))

    async def _look_at(self, kernel: WatchedKernel) -> None:
        process = kernel.workload_name
        usage = await kernel.usage()
        if usage is None or usage.memory_share < WARNING_SHARE or kernel.workload_name != process:
            return
        self._warned[kernel] = process
        kernel.announce(f"{warning(usage)} {kernel.memory_advice}".rstrip())


def warning(usage: Usage) -> str:
    """Return the warning of a kernel that uses most of its memory limit."""
    used, limit = _gibibytes(usage.memory or 0), _gibibytes(usage.memory_limit or 0)
    return (
        f"The kernel uses {used} of the {limit} of memory that it may use "
        f"({usage.memory_share:.0%}). If it needs more, it is ended without notice."
    )


def _gibibytes(size: int) -> str:
    if size < 2**30:
        return f"{size / 2**20:.0f} MiB"
    return f"{size / 2**30:.2f}".rstrip("0").rstrip(".") + " GiB"
