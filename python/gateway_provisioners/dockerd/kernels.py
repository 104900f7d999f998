"""What kernels of any kind on an engine have in common: a state by name, and its changes."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from gateway_provisioners.dockerd.api import DockerApi
from gateway_provisioners.dockerd.launched_container import LaunchedContainer
from gateway_provisioners.dockerd.records import Records
from gateway_provisioners.errors import EngineError, LaunchFailed
from gateway_provisioners.model.container import status as container_status
from gateway_provisioners.model.container.config import (
    KernelContainerSpec,
    label_filters,
    runs_as_root,
)
from gateway_provisioners.model.failures import StartFailure
from gateway_provisioners.tasks.background import Background
from gateway_provisioners.tasks.listeners import Listeners

Object = dict[str, Any]


class Kernels(ABC):
    """All kernels of one kind and one instance on one engine.

    Args:
        instance: whose kernels: a value of a label.
        records: where what a later process has to know of them is stored.
        keep: whether what has ended stays on the engine, for somebody to look at.
    """

    def __init__(self, api: DockerApi, *, instance: str, records: Records, keep: bool) -> None:
        self.api = api
        self.records = records
        self.background = Background()
        self._filters = label_filters(instance)
        self._instance = instance
        self._keep = keep
        self._states: dict[str, Object] = {}
        self._listeners: Listeners[str, Callable[[], None]] = Listeners()

    # What each kind says of one of its states.

    @abstractmethod
    def exit_code(self, state: Object) -> int | None: ...

    @abstractmethod
    def end_cause(self, state: Object) -> str | None: ...

    @abstractmethod
    def progress(self, state: Object) -> str: ...

    @abstractmethod
    def is_unschedulable(self, state: Object) -> bool: ...

    @abstractmethod
    def start_failure(
        self, state: Object, *, unschedulable_is_final: bool
    ) -> StartFailure | None: ...

    # What each kind does.

    @abstractmethod
    async def create(self, spec: KernelContainerSpec) -> LaunchedContainer:
        """Make and start it.

        Raises:
            LaunchFailed: the engine refused; nothing is left behind.
        """

    @abstractmethod
    async def existing(self) -> set[str]:
        """The names of all there are, in whatever state, that are to be kernels or to be removed.

        Raises:
            EngineError: the engine did not answer.
        """

    async def remains(self) -> set[str]:
        """The names of those of which only parts are left, for `end` to remove.

        Raises:
            EngineError: the engine did not answer.
        """
        return set()

    @abstractmethod
    async def adopt(self, name: str) -> LaunchedContainer:
        """Follow what another process has made, dead, gone or alive as it may be.

        Raises:
            EngineError: the engine did not answer.
        """

    @abstractmethod
    def address(self, name: str) -> str | None:
        """Where it is reached on the containers' network, if that is known by now."""

    @abstractmethod
    async def log(self, name: str) -> str:
        """The last lines that it printed."""

    @abstractmethod
    async def end(self, name: str, *, grace_seconds: int) -> None:
        """End it, and remove it unless it shall be kept; what is gone already is as good.

        Raises:
            EngineError: the engine did not confirm.
        """

    @contextlib.contextmanager
    def _whole_or_not_at_all(self, spec: KernelContainerSpec) -> Iterator[LaunchedContainer]:
        """Give what the block makes; remove whatever there is of it when the block fails.

        Raises:
            LaunchFailed: the engine refused.
        """
        launched = LaunchedContainer(self, spec.name)
        try:
            yield launched
        except EngineError as error:
            launched.discard_soon()
            failure = container_status.refusal(
                error.status, str(error), image=spec.image, network=spec.network
            )
            raise LaunchFailed(failure.reason, failure.message) from error
        except BaseException:  # cancelled half-way: it may exist all the same
            launched.discard_soon()
            raise

    # Following.

    def state(self, name: str) -> Object | None:
        """The last that was heard of it; None where it is not there."""
        return self._states.get(name)

    def subscribe(self, name: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on each change; returns what ends that."""
        return self._listeners.add(name, listener)

    def end_soon(self, name: str, *, grace_seconds: int) -> None:
        """Like `end`, in the background, again and again until the engine confirms it."""
        self.background.begin(f"end {name}", lambda: self.end(name, grace_seconds=grace_seconds))

    def forget_soon(self, name: str) -> None:
        """Remove what is stored of it, in the background."""
        self.background.begin(f"forget {name}", lambda: self.records.remove(name))

    def _learn(self, name: str, state: Object | None) -> None:
        if state is None:
            self._states.pop(name, None)
        else:
            self._states[name] = state
        for listener in self._listeners.of(name):
            listener()


def refuse_root(spec: KernelContainerSpec, image: Object) -> None:
    """Let a kernel pass that is not root in its inspected image.

    Raises:
        LaunchFailed: it is, or may be.
    """
    if runs_as_root(spec, image):
        msg = (
            f"It would run as root in its image {spec.image!r}, and no kernel may; set run_as_user "
            "in the kernelspec."
        )
        raise LaunchFailed("ContainerCannotRun", msg)
