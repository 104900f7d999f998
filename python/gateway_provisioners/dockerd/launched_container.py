"""One container or service that runs a kernel, from its creation until it is gone."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from gateway_provisioners.errors import EngineError
from gateway_provisioners.model.failures import EXIT_CODE_OF_LOST, GRACE_SECONDS, StartFailure
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.tasks.changes import Changes
from gateway_provisioners.tasks.waiting import within

if TYPE_CHECKING:
    from gateway_provisioners.dockerd.kernels import Kernels

Object = dict[str, Any]

_log = logging.getLogger(__name__)


class LaunchedContainer:
    """A `Workload`: see there. No other process has a hand in it while this one lives."""

    is_busy_elsewhere = False

    def __init__(self, kernels: Kernels, name: str, *, adopted: bool = False) -> None:
        self.name = name
        self._kernels = kernels
        self._was_there = adopted
        self._ending = False
        self._changes = Changes()
        self._unsubscribe = kernels.subscribe(name, self._on_change)

    @property
    def progress(self) -> str:
        state = self._state
        return (
            "Its container is still being made." if state is None else self._kernels.progress(state)
        )

    def exit_code(self) -> int | None:
        state = self._state
        code = None if state is None else self._kernels.exit_code(state)
        if code is None and (self._ending or self._is_gone):
            return EXIT_CODE_OF_LOST
        return code

    def end_cause(self) -> str | None:
        state = self._state
        return None if self._ending or state is None else self._kernels.end_cause(state)

    async def wait_address(self) -> str:
        return await self._changes.until(lambda: self._kernels.address(self.name))

    async def wait_gone(self) -> None:
        def gone() -> bool | None:
            state = self._state
            return state is None or self._kernels.exit_code(state) is not None or None

        await self._changes.until(gone)

    async def start_failure(self, *, unschedulable_grace: float) -> StartFailure:
        while True:
            found = await self._changes.until(
                lambda: self._failure(final=not unschedulable_grace) or self._is_unschedulable()
            )
            if isinstance(found, StartFailure):
                return found
            try:
                await within(
                    unschedulable_grace,
                    self._changes.until(lambda: not self._is_unschedulable() or None),
                )
            except asyncio.TimeoutError:
                if still := self._failure(final=True):
                    return still

    async def log_tail(self, lines: int = 20) -> str:
        try:
            log = await self._kernels.log(self.name)
        except EngineError as error:
            _log.info("no log of %s: %s", self.name, error)
            return ""
        return "\n".join(log.splitlines()[-lines:])

    async def remember(self, record: KernelRecord) -> None:
        await self._kernels.records.write(self.name, record)

    async def begin_restart(self) -> None:
        await self._kernels.records.change(self.name, restarting=True)

    async def give_up_restart(self) -> None:
        """A later process finds it as it is, and begins anew."""

    async def stop(self) -> None:
        self._end_soon(GRACE_SECONDS)

    async def replaced(self) -> None:
        await self._kernels.records.remove(self.name)

    def discard_soon(self) -> None:
        self._end_soon(0)
        # Where it was remembered, and the launch failed all the same.
        self._kernels.forget_soon(self.name)

    async def remove(self, *, grace_seconds: int) -> None:
        # First, or a later process would take it for a kernel that died.
        await self._kernels.records.remove(self.name)
        self._end_soon(grace_seconds)

    def forget(self) -> None:
        self._unsubscribe()

    def _end_soon(self, grace_seconds: int) -> None:
        self._ending = True
        self._kernels.end_soon(self.name, grace_seconds=grace_seconds)
        self._changes.changed()

    def _on_change(self) -> None:
        self._was_there = self._was_there or self._state is not None
        self._changes.changed()

    @property
    def _state(self) -> Object | None:
        return self._kernels.state(self.name)

    @property
    def _is_gone(self) -> bool:
        return self._was_there and self._state is None

    def _is_unschedulable(self) -> bool | None:
        state = self._state
        return (state is not None and self._kernels.is_unschedulable(state)) or None

    def _failure(self, *, final: bool) -> StartFailure | None:
        if self._is_gone:
            return StartFailure("Deleted", "Its container was removed while it was starting.")
        state = self._state
        if state is None:
            return None
        return self._kernels.start_failure(state, unschedulable_is_final=final)
