"""Restarts of a kernel that died: the check, the limit, and the pauses between attempts."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from jupyter_client.ioloop.restarter import AsyncIOLoopKernelRestarter

from gateway_provisioners.aio import Backoff, call_later
from gateway_provisioners.errors import KernelBusy, KernelGone
from gateway_provisioners.gateway.failures import can_pass, summarize
from gateway_provisioners.gateway.kernels.restart_failures import RestartFailures
from gateway_provisioners.gateway.process.audit import acting_because

# How often, and after which pauses, a restart is tried again that has to wait for something: with the default
# launch timeout, this takes about half an hour.
_MOST_WAITS = 20
_WAIT_BACKOFF = Backoff(3, 60)


class _Kernel(Protocol):
    """A `GatewayKernel`, as its restarter sees it."""

    kernel_id: str
    execution_state: str
    shutting_down: bool
    restart_failures: RestartFailures

    @property
    def is_restarted_here(self) -> bool: ...

    @property
    def is_known_to_live(self) -> bool: ...

    async def is_alive(self) -> bool: ...

    async def announce_end(self, *, restarts: bool) -> bool: ...


class GatewayKernelRestarter(AsyncIOLoopKernelRestarter):
    """Restarts a kernel that died, up to `restart_limit` times in a row.

    A restart that took too long because of a condition that can pass (a volume, a registry, a node to come)
    is not one of them; up to `_MOST_WAITS` of those in a row are made, with pauses that become longer.

    Upstream's restarts even a kernel that is being shut down, and as soon as one restart fails it stops
    watching for good, without a log line. Its timer makes tasks for each kernel, also if nothing has
    happened: with a thousand kernels, twice the work of everything else in an idle gateway.
    """

    _timer: asyncio.TimerHandle | None = None
    _waits = 0
    """How many restarts in a row ended with a condition that can pass."""
    _polling: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Begin to watch the kernel."""
        if self._timer is None:
            self._look_later()

    def stop(self) -> None:
        """End the watch; a restart that has begun goes on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        pause = _WAIT_BACKOFF.pause(self._waits) if self._waits else self.time_to_dead
        self._timer = call_later(pause, self._look)

    def _look(self) -> None:
        self._look_later()
        if self._polling is not None and not self._polling.done():
            return
        is_settled = not (self._initial_startup or self._restarting)
        if not is_settled or not self._kernel.is_known_to_live:
            self._polling = asyncio.ensure_future(self.poll())

    async def poll(self) -> None:  # type: ignore[override]
        """Check the kernel; restart it or give it up."""
        if not self._is_responsible():
            return
        kernel = self._kernel
        try:
            with acting_because("Died"):
                if not await kernel.is_alive():
                    await kernel.announce_end(restarts=self._is_restarted_next)
                if not self._is_responsible():
                    return
                await super().poll()
        except KernelGone:
            return
        except KernelBusy:
            self.start()  # the attempt may have stopped the watch
        except Exception as error:  # noqa: BLE001 - no error may end the watch
            self._take_failure(error)
        else:
            self._waits = 0

    @property
    def _kernel(self) -> _Kernel:
        return cast(_Kernel, self.kernel_manager)

    def _is_responsible(self) -> bool:
        """Return whether the kernel would be restarted here now if it were dead."""
        return not self._kernel.shutting_down and self._kernel.is_restarted_here

    @property
    def _is_restarted_next(self) -> bool:
        count = self._restart_count + 1 if self._restarting else 1
        return bool(count <= self.restart_limit)

    def _take_failure(self, error: Exception) -> None:
        kernel = self._kernel
        kernel.restart_failures.report(error)
        if can_pass(error) and self._waits < _MOST_WAITS:
            self._waits += 1
            self._restart_count = max(0, self._restart_count - 1)
            outcome, number, limit = "has to wait for its restart", self._waits, _MOST_WAITS
        else:
            number, limit = self._restart_count, self.restart_limit
            outcome = "could not be restarted"
        self.log.warning(
            "Kernel %s died and %s (%d of %d): %s",
            kernel.kernel_id,
            outcome,
            number,
            limit,
            summarize(error),
        )
        # The failed attempt may have stopped the watch, or begun it anew; the next one is due after a pause.
        self._restarting = True
        self.stop()
        self.start()

    def _fire_callbacks(self, event: str) -> None:
        if event == "dead":
            self._kernel.execution_state = "dead"
        super()._fire_callbacks(event)
