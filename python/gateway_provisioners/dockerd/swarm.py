"""Kernels in Swarm services of one task each: create, follow, end.

An engine tells nobody what becomes of tasks, least of those on other nodes: its stream of events has
services in it, and the containers of its own node. So one request asks for all tasks of ours, once a
second while there are any, and at once when something happens that the engine does tell of.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gateway_provisioners.dockerd.api import SERVICE_NAME_LABEL
from gateway_provisioners.dockerd.kernels import Kernels, refuse_root
from gateway_provisioners.dockerd.launched_container import LaunchedContainer
from gateway_provisioners.errors import EngineError, LaunchFailed
from gateway_provisioners.model.container import status as container_status
from gateway_provisioners.model.container import task_status
from gateway_provisioners.model.container.config import (
    NAME_LABEL,
    KernelContainerSpec,
    build_service,
    labels,
    secrets_file,
)
from gateway_provisioners.model.failures import OUT_OF_MEMORY, StartFailure, out_of_memory
from gateway_provisioners.tasks.waiting import within

Object = dict[str, Any]

_LOOK_SECONDS = 1.0
_IDLE_SECONDS = 3600.0
_NO_SWARM = 503
_CONTAINER = "Container"  # where a task's state holds what this node's engine says of its container

_log = logging.getLogger(__name__)


class ServiceKernels(Kernels):
    """The state of each is its task's, as the API has it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._followed: set[str] = set()
        self._look_now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def exit_code(self, state: Object) -> int | None:
        return task_status.exit_code(state)

    def end_cause(self, state: Object) -> str | None:
        return OUT_OF_MEMORY if _was_out_of_memory(state) else None

    def progress(self, state: Object) -> str:
        return task_status.progress(state)

    def is_unschedulable(self, state: Object) -> bool:
        return task_status.is_unschedulable(state)

    def start_failure(self, state: Object, *, unschedulable_is_final: bool) -> StartFailure | None:
        if _was_out_of_memory(state):
            return out_of_memory()
        return task_status.start_failure(state, unschedulable_is_final=unschedulable_is_final)

    def start(self) -> None:
        """Begin to follow the tasks of whatever is created."""
        self._task = asyncio.create_task(self._follow_forever(), name="tasks of the swarm")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def create(self, spec: KernelContainerSpec) -> LaunchedContainer:
        if self.api.is_podman:
            failure = container_status.podman_has_no_swarm()
            raise LaunchFailed(failure.reason, failure.message)
        with self._whole_or_not_at_all(spec) as launched:
            image = await self.api.image(spec.image) or {}
            refuse_root(spec, image)
            secret_id = await self.api.create_secret(spec.name, secrets_file(spec), labels(spec))
            await self.api.create_service(build_service(spec, image, secret_id=secret_id))
        self._followed.add(spec.name)
        self._look_now.set()
        return launched

    async def existing(self) -> set[str]:
        return set(await self._if_there_is_a_swarm(self.api.list_services))

    async def remains(self) -> set[str]:
        secrets = await self._if_there_is_a_swarm(self.api.list_secrets)
        return set(secrets) - await self.existing()

    async def adopt(self, name: str) -> LaunchedContainer:
        launched = LaunchedContainer(self, name, adopted=True)
        self._followed.add(name)
        await self.relist()
        if name not in self._states:
            self._followed.discard(name)  # its service is gone
        return launched

    def address(self, name: str) -> str | None:
        state = self.state(name) or {}
        # On a network of one node only that node knows.
        return task_status.address(state) or container_status.address(state.get(_CONTAINER) or {})

    async def log(self, name: str) -> str:
        return await self.api.service_log(name, lines=20)

    async def end(self, name: str, *, grace_seconds: int) -> None:  # noqa: ARG002 - the service's own
        await self.api.remove_service(name)
        await self.api.remove_secret(name)
        if name not in self._states:
            self._followed.discard(name)
        self._look_now.set()

    async def relist(self) -> None:
        """Ask for the state of all tasks.

        Raises:
            EngineError: the engine did not answer.
        """
        if not self._followed:
            return
        tasks: dict[str, Object] = {}
        for task in await self.api.list_tasks(self._filters):
            name = str(task["Spec"]["ContainerSpec"]["Labels"].get(NAME_LABEL, ""))
            # A kernel is the first task of its service: what Swarm may start in its place is none.
            if name in self._followed and (
                name not in tasks or task["CreatedAt"] < tasks[name]["CreatedAt"]
            ):
                tasks[name] = task
        for name in list(self._followed):
            state = tasks.get(name)
            if state is None and name not in self._states:
                continue  # its task has not been made yet
            if state is None:
                self._followed.discard(name)
            else:
                state[_CONTAINER] = await self._container(state, self._states.get(name) or {})
            if state != self._states.get(name):
                self._learn(name, state)

    def on_event(self, event: Object) -> None:
        """Look at the tasks when an event may speak of one of them."""
        attributes = (event.get("Actor") or {}).get("Attributes") or {}
        if (attributes.get(SERVICE_NAME_LABEL) or attributes.get("name")) in self._followed:
            self._look_now.set()

    async def _if_there_is_a_swarm(
        self, ask: Callable[[Sequence[str]], Awaitable[list[str]]]
    ) -> list[str]:
        if self.api.is_podman:
            return []
        try:
            return await ask(self._filters)
        except EngineError as error:
            if error.status == _NO_SWARM:
                return []
            raise

    async def _follow_forever(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                pause = _LOOK_SECONDS if self._followed else _IDLE_SECONDS
                await within(pause, self._look_now.wait())
            self._look_now.clear()
            try:
                await self.relist()
            except EngineError as error:
                _log.warning("the swarm does not tell of its tasks (%s); going on shortly", error)
                await asyncio.sleep(_LOOK_SECONDS)  # no event tells that it is back

    async def _container(self, task: Object, before: Object) -> Object:
        """What this node's engine says of a task's container; nothing where it is another node's."""
        known: Object = before.get(_CONTAINER) or {}
        if container_status.address(known) and self.exit_code(task) is None:
            return known
        container = task_status.container_id(task)
        return (await self.api.inspect_container(container) or {}) if container else {}


def _was_out_of_memory(state: Object) -> bool:
    return container_status.end_cause(state.get(_CONTAINER) or {}) is not None
