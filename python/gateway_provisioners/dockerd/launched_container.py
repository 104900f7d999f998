"""One container or service that runs a kernel, from its creation until it is gone."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Protocol

from gateway_provisioners.aio import Changes
from gateway_provisioners.dockerd.admission import Admission
from gateway_provisioners.dockerd.records import Records
from gateway_provisioners.errors import EngineError, LaunchFailed
from gateway_provisioners.model.condition import Condition
from gateway_provisioners.model.failures import (
    EXIT_CODE_OF_KILLED,
    EXIT_CODE_OF_LOST,
    GRACE_SECONDS,
    last_lines,
    sentence,
)
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.launch_progress import Phase, Stage
from gateway_provisioners.model.objects import Object
from gateway_provisioners.model.workload_details import WorkloadDetails

REMOVED = "The kernel was removed by another client of the engine."

_log = logging.getLogger(__name__)

NOT_CREATED = Stage(Phase.CREATING, "The kernel's container is still being created.")


class ContainerOperations(Protocol):
    """The part of `Kernels` that the handle of one container or service needs."""

    records: Records
    admission: Admission

    # The meaning of a state, which each kind reads from its own object of the API.

    @abstractmethod
    def exit_code(self, state: Object) -> int | None: ...

    @abstractmethod
    def end_cause(self, state: Object) -> str | None: ...

    @abstractmethod
    def progress(self, state: Object) -> Stage: ...

    @abstractmethod
    def details(self, state: Object) -> WorkloadDetails: ...

    @abstractmethod
    def is_unschedulable(self, state: Object) -> bool: ...

    @abstractmethod
    def start_failure(
        self, state: Object, *, unschedulable_is_final: bool
    ) -> LaunchFailed | None: ...

    # By the name of the workload.

    @abstractmethod
    def state(self, name: str) -> Object | None:
        """The state that the engine reported last; None if the workload does not exist."""

    @abstractmethod
    def subscribe(self, name: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on each change; returns the function that ends that."""

    @abstractmethod
    def addresses(self, name: str) -> Sequence[str]:
        """The addresses on its networks; [""] if it uses its host's, empty before they are known."""

    @abstractmethod
    async def log(self, name: str) -> str:
        """Return the last LOG_LINES lines that it printed, or a few more."""

    @abstractmethod
    def remove_soon(self, name: str, *, grace_seconds: int) -> None:
        """Remove it, in the background until the engine confirms it."""

    @abstractmethod
    def forget_soon(self, name: str) -> None:
        """Delete its record, in the background."""


class LaunchedContainer:
    """A `Workload` that is a container or service; no other process manages it."""

    is_busy_elsewhere = False
    condition: Condition | None = None
    """None: an engine reports failures, and tries nothing again."""

    def __init__(self, kernels: ContainerOperations, name: str, *, adopted: bool = False) -> None:
        self.name = name
        self._kernels = kernels
        self._existed = adopted
        self._removing = False
        self._end_cause: str | None = None
        self._changes = Changes()
        self._unsubscribe = kernels.subscribe(name, self._on_change)

    @property
    def progress(self) -> Stage:
        state = self._state
        return NOT_CREATED if state is None else self._kernels.progress(state)

    async def wait_progress(self, known: Stage) -> None:
        await self._changes.until(lambda: self.progress != known or None)

    def announce(self, stage: Stage) -> None:
        """Do nothing: an engine keeps no events of others."""

    @property
    def details(self) -> WorkloadDetails:
        return self._kernels.details(self._state or {})

    def exit_code(self) -> int | None:
        state = self._state
        code = None if state is None else self._kernels.exit_code(state)
        if code is None and (self._removing or self._is_gone):
            return EXIT_CODE_OF_LOST
        return code

    def end_cause(self) -> str | None:
        if not self._removing:
            # The first cause is the right one: later states are those of a removal.
            self._end_cause = self._end_cause or self._present_end_cause()
        return self._end_cause

    async def wait_end_explained(self) -> None:
        # A container that is removed is killed first, and the engine reports one after the other.
        await self._changes.until(
            lambda: (
                self.end_cause()
                or self._removing
                or self.exit_code() != EXIT_CODE_OF_KILLED
                or None
            )
        )

    async def wait_address(self, preferred: str = "") -> str:
        known = await self._changes.until(lambda: self._kernels.addresses(self.name) or None)
        return preferred if preferred in known else known[0]

    async def wait_gone(self) -> None:
        def gone() -> bool | None:
            state = self._state
            return state is None or self._kernels.exit_code(state) is not None or None

        await self._changes.until(gone)

    async def start_failure(self, *, unschedulable_grace: float) -> LaunchFailed:
        return await self._changes.until_final(
            self._failure, may_pass=self._is_unschedulable, grace=unschedulable_grace
        )

    async def wait_unobstructed(self) -> None:
        """Return: there is no `condition`."""

    async def log_tail(self) -> str:
        try:
            log = await self._kernels.log(self.name)
        except EngineError as error:
            _log.info("No log of %s: %s", self.name, error)
            is_silent = error.status in (0, HTTPStatus.NOT_FOUND)
            return "" if is_silent else f"(The engine cannot read it: {sentence(str(error))})"
        return last_lines(log)

    async def remember(self, record: KernelRecord) -> None:
        await self._kernels.records.write(self.name, record)

    async def begin_restart(self) -> None:
        await self._kernels.records.change(self.name, restarting=True)

    async def give_up_restart(self) -> None:
        """Do nothing: a later process finds the kernel as it is, and starts over."""

    async def stop(self) -> None:
        self._remove_soon(GRACE_SECONDS)

    async def remove_replaced(self) -> None:
        self._kernels.admission.dismiss(self.name)
        await self._kernels.records.forget(self.name)

    def remove_soon(self) -> None:
        self._kernels.admission.dismiss(self.name)
        self._remove_soon(0)
        # The launch may have failed after its record was stored.
        self._kernels.forget_soon(self.name)

    async def remove(self, *, grace_seconds: int) -> None:
        self._kernels.admission.dismiss(self.name)
        # First, or a later process would take it for a kernel that died.
        await self._kernels.records.forget(self.name)
        self._remove_soon(grace_seconds)

    def release(self) -> None:
        self._unsubscribe()

    def _remove_soon(self, grace_seconds: int) -> None:
        self._removing = True
        self._kernels.remove_soon(self.name, grace_seconds=grace_seconds)
        self._changes.changed()

    def _on_change(self) -> None:
        self._existed = self._existed or self._state is not None
        self.end_cause()
        self._changes.changed()

    def _present_end_cause(self) -> str | None:
        if self._is_gone:
            return REMOVED
        state = self._state
        return None if state is None else self._kernels.end_cause(state)

    @property
    def _state(self) -> Object | None:
        return self._kernels.state(self.name)

    @property
    def _is_gone(self) -> bool:
        return self._existed and self._state is None

    def _is_unschedulable(self) -> bool:
        state = self._state
        return state is not None and self._kernels.is_unschedulable(state)

    def _failure(self, is_final: bool) -> LaunchFailed | None:
        if self._is_gone:
            return LaunchFailed(
                "Deleted", "The kernel's container was removed while it was starting."
            )
        state = self._state
        if state is None:
            return None
        return self._kernels.start_failure(state, unschedulable_is_final=is_final)
