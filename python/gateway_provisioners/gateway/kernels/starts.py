"""The starts of kernels that are under way: whose they are, how far they have come, and how they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Set
from dataclasses import dataclass
from typing import Any

from gateway_provisioners.errors import GatewayProvisionersError, GatewayStopping, StartCancelled
from gateway_provisioners.gateway.failures import fail
from gateway_provisioners.gateway.kernels.start_limits import StartLimits
from gateway_provisioners.gateway.process.metrics import GatewayMetrics
from gateway_provisioners.model.launch_progress import LaunchProgress, Phase, Stage
from gateway_provisioners.model.ownership import Ownership

CANCELLED = "A client shut the kernel down while it was being started."
_REQUESTED = Stage(Phase.REQUESTED, "The kernel is being started.")


class KernelIdTaken(GatewayProvisionersError):
    """A kernel of that id is being started or shut down."""

    reason = "KernelIdTaken"
    http_status = 409


@dataclass
class Start:
    """A kernel that is being started, and whose it will be.

    Attributes:
        is_cancelled: whether a client has cancelled it.
    """

    task: asyncio.Task[str]
    name: str
    ownership: Ownership
    progress: LaunchProgress
    is_cancelled: bool = False


class Starts:
    """Runs starts, within the limits of each user, and counts their outcomes."""

    def __init__(self, limits: StartLimits, metrics: GatewayMetrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._starts: dict[str, Start] = {}

    @property
    def ids(self) -> Set[str]:
        """The ids of the kernels that are being started."""
        return self._starts.keys()

    def get(self, kernel_id: str) -> Start | None:
        """Return the start of a kernel; None if it is not being started."""
        return self._starts.get(kernel_id)

    async def run(
        self,
        start: Callable[..., Coroutine[Any, Any, str]],
        kernel_id: str,
        name: str,
        ownership: Ownership,
    ) -> str:
        """Start a kernel.

        Args:
            start: starts it, given its `progress`, and returns its id.
            name: its kernelspec.
            ownership: whose kernel it will be.

        Returns:
            the id.

        Raises:
            TooManyStarts: the user has to wait.
            StartCancelled: see `cancel`.
            GatewayStopping: the start took longer than `finish` waits.
            Exception: the one that `start` raised.
        """
        self._limits.check(ownership, (each.ownership for each in self._starts.values()))
        began = time.monotonic()
        self._metrics.start_requested(name)
        progress = LaunchProgress(time.monotonic)
        progress.enter(_REQUESTED)
        task = asyncio.create_task(start(progress=progress))
        self._starts[kernel_id] = this = Start(task, name, ownership, progress)
        try:
            started = await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            abandoned: GatewayProvisionersError
            if this.is_cancelled:
                abandoned = StartCancelled(CANCELLED)
            else:
                abandoned = GatewayStopping("The gateway is shutting down; start the kernel again.")
            self._metrics.start_failed(name, abandoned)
            fail(progress, abandoned)
            raise abandoned from None
        except Exception as error:
            self._metrics.start_failed(name, error)
            fail(progress, error)
            raise
        finally:
            del self._starts[kernel_id]
        self._metrics.start_succeeded(name, time.monotonic() - began)
        progress.succeed()
        return started

    async def wait_for(self, kernel_id: str) -> None:
        """Return when the kernel is not being started, whether it has started or not."""
        if start := self._starts.get(kernel_id):
            await asyncio.wait({start.task})

    async def cancel(self, kernel_id: str) -> None:
        """Cancel the start of a kernel; return when it has ended, perhaps because the kernel is up."""
        if start := self._starts.get(kernel_id):
            start.is_cancelled = True
            start.task.cancel()
            await asyncio.wait({start.task})

    async def finish(self, seconds: float) -> None:
        """Wait for the starts that are under way; cancel those that take longer than that."""
        tasks = {start.task for start in self._starts.values()}
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=seconds)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
