"""The common part of all kinds of kernels on an engine: a state by name, and its changes."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence

from gateway_provisioners.aio import Background, Listeners
from gateway_provisioners.dockerd.admission import Admission
from gateway_provisioners.dockerd.api import DockerApi
from gateway_provisioners.dockerd.launched_container import ContainerOperations, LaunchedContainer
from gateway_provisioners.dockerd.records import Records
from gateway_provisioners.errors import EngineError, LaunchFailed
from gateway_provisioners.model.container import status as container_status
from gateway_provisioners.model.container.config import (
    KernelContainerSpec,
    label_filters,
    runs_as_root,
)
from gateway_provisioners.model.launch_progress import LaunchProgress
from gateway_provisioners.model.objects import Object
from gateway_provisioners.model.ownership import Ownership


class Kernels(ContainerOperations):
    """All kernels of one kind and one instance on one engine.

    Args:
        instance: the kernels' value of a label.
        records: stores what a later process needs to adopt them.
        admission: counts the kernels of all kinds that the quotas are for.
        keep: whether workloads that have ended stay on the engine, for inspection.
    """

    def __init__(
        self,
        api: DockerApi,
        *,
        instance: str,
        records: Records,
        admission: Admission,
        keep: bool,
    ) -> None:
        self._api = api
        self.records = records
        self.admission = admission
        self._background = Background()
        self._filters = label_filters(instance)
        self._instance = instance
        self._keep = keep
        self._states: dict[str, Object] = {}
        self._listeners: Listeners[str, Callable[[], None]] = Listeners()
        self._address_listeners: list[Callable[[str, Sequence[str]], None]] = []

    async def stop(self) -> None:
        """Stop following, after the removals under way; kernels stay untouched."""
        await self._background.finish()

    @abstractmethod
    async def create(
        self, spec: KernelContainerSpec, progress: LaunchProgress
    ) -> LaunchedContainer:
        """Make and start a kernel's workload.

        Args:
            progress: takes the steps of that.

        Raises:
            PolicyViolation: it would exceed a quota.
            LaunchFailed: the engine refused; nothing is left behind.
        """

    @abstractmethod
    async def existing(self) -> set[str]:
        """Return the names of all workloads that are to be adopted or removed, in any state.

        Raises:
            EngineError: the engine did not answer.
        """

    async def leftovers(self) -> set[str]:
        """Return the names of those of which only parts are left, for `remove`.

        Raises:
            EngineError: the engine did not answer.
        """
        return set()

    @abstractmethod
    async def adopt(self, name: str) -> LaunchedContainer:
        """Follow a workload that another process made, even if it is dead or gone.

        Raises:
            EngineError: the engine did not answer.
        """

    @abstractmethod
    async def remove(self, name: str, *, grace_seconds: int) -> None:
        """Stop and remove it, or only stop it with `keep`; does nothing if it is gone.

        Raises:
            EngineError: the engine did not confirm.
        """

    @contextlib.contextmanager
    def _cleanup_on_failure(self, spec: KernelContainerSpec) -> Iterator[LaunchedContainer]:
        """Give the handle of what the block makes, which is removed when the block fails.

        Raises:
            LaunchFailed: the engine refused.
        """
        launched = LaunchedContainer(self, spec.name)
        try:
            yield launched
        except EngineError as error:
            launched.remove_soon()
            raise container_status.refusal(
                error.status, str(error), image=spec.image, network=spec.network
            ) from error
        except BaseException:  # cancelled half-way: it may exist all the same
            launched.remove_soon()
            raise

    def _stored_ownership(self, name: str) -> Ownership:
        stored = self.records.stored.get(name)
        return stored.record.ownership if stored else Ownership()

    def state(self, name: str) -> Object | None:
        return self._states.get(name)

    def subscribe(self, name: str, listener: Callable[[], None]) -> Callable[[], None]:
        return self._listeners.add(name, listener)

    def follow_addresses(self, listener: Callable[[str, Sequence[str]], None]) -> None:
        """Call `listener` with a workload's name and addresses: for each one now, and on each change."""
        self._address_listeners.append(listener)
        for name in self._states:
            listener(name, self._present_addresses(name))

    def remove_soon(self, name: str, *, grace_seconds: int) -> None:
        self._background.begin(
            f"remove {name}", lambda: self.remove(name, grace_seconds=grace_seconds)
        )

    def forget_soon(self, name: str) -> None:
        self._background.begin(f"forget the record of {name}", lambda: self.records.forget(name))

    def _learn(self, name: str, state: Object | None) -> None:
        if state is None:
            self._states.pop(name, None)
        else:
            self._states[name] = state
        for listener in self._listeners.of(name):
            listener()
        for report_addresses in self._address_listeners:
            report_addresses(name, self._present_addresses(name))

    def _present_addresses(self, name: str) -> Sequence[str]:
        state = self._states.get(name)
        if state is None or self.exit_code(state) is not None:
            return ()  # a task that has ended keeps them in its state
        return self.addresses(name)


def refuse_root(spec: KernelContainerSpec, image: Object) -> None:
    """Refuse a kernel that may run as root in its inspected image.

    Raises:
        LaunchFailed: it may.
    """
    if runs_as_root(spec, image):
        msg = (
            "The kernel would run as root, which is not allowed. Set run_as_user in the kernelspec, whose "
            f"image is {spec.image!r}."
        )
        raise LaunchFailed("ContainerCannotRun", msg)
