"""The last end of a kernel that no client asked for: its cause, in the log and for its users."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from gateway_provisioners.aio import within
from gateway_provisioners.model.failures import exited
from gateway_provisioners.provisioners.contract import KernelEnd
from gateway_provisioners.provisioners.workload import Workload

# How long a kernel that has ended waits, before it is restarted, for the cause and for its log.
_EXPLAINED_SECONDS = 2.0
_LOG_SECONDS = 2.0


class LastEnd:
    """Keeps the cause of a kernel's last end over its restarts, and logs it once.

    Args:
        log: the log of its provisioner.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._cause = ""
        # The workload of the end that the log has.
        self._logged_end_of = ""

    def cause(self, workload: Workload | None) -> str:
        """Return why the kernel, which is or was in this workload, ended last; "" if that is not known."""
        return _known_cause(workload) or self._cause

    def note(self, kernel_id: str, workload: Workload) -> None:
        """Keep, and log once, why the kernel ended, which an engine may report after its exit code."""
        self._keep(kernel_id, workload, workload.end_cause())

    async def explain(self, kernel_id: str, workload: Workload) -> KernelEnd:
        """Wait a moment for the cause, and for the log if the engine does not know the cause."""
        with suppress(asyncio.TimeoutError):
            await within(_EXPLAINED_SECONDS, workload.wait_end_explained())
        code, log = workload.exit_code() or 0, ""
        if code and not workload.end_cause():
            with suppress(asyncio.TimeoutError):
                log = await within(_LOG_SECONDS, workload.log_tail())
        cause = workload.end_cause() or exited(code)
        self._keep(kernel_id, workload, cause)
        return KernelEnd(cause, log)

    def restarted_elsewhere(self, replaced: Workload | None) -> None:
        """Keep the cause only if it is that of the workload which another gateway has replaced."""
        name = replaced.name if replaced else ""
        explained = self._cause if name == self._logged_end_of else ""
        self._cause = _known_cause(replaced) or explained

    def forget(self) -> None:
        """Forget the cause: a client asked for the restart of a kernel that lives."""
        self._cause = ""

    def _keep(self, kernel_id: str, workload: Workload, cause: str | None) -> None:
        if cause and workload.name != self._logged_end_of:
            self._logged_end_of = workload.name
            self._cause = cause
            self._log.warning("Kernel %s in %s has ended. %s", kernel_id, workload.name, cause)


def _known_cause(workload: Workload | None) -> str:
    if workload is None or workload.exit_code() is None:
        return ""
    return workload.end_cause() or ""
