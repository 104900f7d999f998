"""Kernels in Swarm services of one task each: create, follow, remove.

An engine has no events of tasks: its stream has those of services, and of the containers on its own node.
So one request asks for all tasks of the kernels, once a second while there are any, and at once when an
event may concern one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from gateway_provisioners.aio import Backoff, Loop, within
from gateway_provisioners.dockerd.api import SERVICE_NAME_LABEL
from gateway_provisioners.dockerd.kernels import Kernels, refuse_root
from gateway_provisioners.dockerd.launched_container import NOT_CREATED, LaunchedContainer
from gateway_provisioners.errors import EngineError, LaunchFailed
from gateway_provisioners.model.container import status as container_status
from gateway_provisioners.model.container import task_status
from gateway_provisioners.model.container.config import (
    NAME_LABEL,
    KernelContainerSpec,
    asks_for_storage,
    build_service,
    labels,
    secrets_file,
)
from gateway_provisioners.model.container.details import task_details
from gateway_provisioners.model.container.usage import task_usage
from gateway_provisioners.model.failures import LOG_LINES, out_of_memory
from gateway_provisioners.model.launch_progress import LaunchProgress, Stage
from gateway_provisioners.model.objects import Object
from gateway_provisioners.model.workload_details import WorkloadDetails

_LIST_SECONDS = 1.0
_IDLE_SECONDS = 3600.0
# The key in a task's state for its container as this node's engine reports it.
_CONTAINER = "Container"


class ServiceKernels(Kernels):
    """The state of a kernel is its task as the API lists it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._followed: set[str] = set()
        self._list_now = asyncio.Event()
        self._loop = Loop(
            "list of the swarm's tasks", self._wait_and_list, Backoff(_LIST_SECONDS, _LIST_SECONDS)
        )

    def exit_code(self, state: Object) -> int | None:
        return task_status.exit_code(state)

    def end_cause(self, state: Object) -> str | None:
        return container_status.end_cause(state.get(_CONTAINER) or {})

    def progress(self, state: Object) -> Stage:
        return task_status.progress(state)

    def details(self, state: Object) -> WorkloadDetails:
        return task_details(state)

    def is_unschedulable(self, state: Object) -> bool:
        return task_status.is_unschedulable(state)

    def start_failure(self, state: Object, *, unschedulable_is_final: bool) -> LaunchFailed | None:
        if self.end_cause(state) is not None:
            return out_of_memory(container_status.memory_limit(state[_CONTAINER]))
        return task_status.start_failure(state, unschedulable_is_final=unschedulable_is_final)

    def start(self) -> None:
        """Begin to follow the tasks of the services that are created or adopted."""
        self._loop.start()

    async def stop(self) -> None:
        await super().stop()
        await self._loop.stop()

    async def create(
        self, spec: KernelContainerSpec, progress: LaunchProgress
    ) -> LaunchedContainer:
        if self._api.is_podman:
            raise container_status.podman_has_no_swarm()
        if asks_for_storage(spec):
            raise container_status.storage_unlimited("services of a Swarm have no such limit.")
        task = build_service(spec, {}, secret_id="")["TaskTemplate"]
        self.admission.admit(spec.name, task_usage(task, spec.ownership))
        progress.enter(NOT_CREATED)
        with self._cleanup_on_failure(spec) as launched:
            image = await self._api.image(spec.image) or {}
            refuse_root(spec, image)
            secret_id = await self._api.create_secret(spec.name, secrets_file(spec), labels(spec))
            service = build_service(
                spec, image, secret_id=secret_id, log_driver=self._api.log_driver
            )
            await self._api.create_service(service)
        self._followed.add(spec.name)
        self._list_now.set()
        return launched

    async def existing(self) -> set[str]:
        return set(await self._if_there_is_a_swarm(self._api.list_services))

    async def leftovers(self) -> set[str]:
        secrets = await self._if_there_is_a_swarm(self._api.list_secrets)
        return set(secrets) - await self.existing()

    async def adopt(self, name: str) -> LaunchedContainer:
        launched = LaunchedContainer(self, name, adopted=True)
        self._followed.add(name)
        await self.relist()
        if state := self.state(name):
            self.admission.adopt(name, task_usage(state["Spec"], self._stored_ownership(name)))
        else:
            self._followed.discard(name)  # its service is gone
        return launched

    def addresses(self, name: str) -> Sequence[str]:
        state = self.state(name) or {}
        # The address on a network of one node is known to that node only.
        return task_status.addresses(state) or container_status.addresses(
            state.get(_CONTAINER) or {}
        )

    async def log(self, name: str) -> str:
        return await self._api.service_log(name, lines=LOG_LINES)

    async def remove(self, name: str, *, grace_seconds: int) -> None:  # noqa: ARG002 - the service has its own
        await self._api.remove_service(name)
        await self._api.remove_secret(name)
        if name not in self._states:
            self._followed.discard(name)
        self._list_now.set()

    async def relist(self) -> None:
        """Ask for the state of all tasks.

        Raises:
            EngineError: the engine did not answer.
        """
        if not self._followed:
            return
        tasks: dict[str, Object] = {}
        for task in await self._api.list_tasks(self._filters):
            name = str(task["Spec"]["ContainerSpec"]["Labels"].get(NAME_LABEL, ""))
            # A kernel is the first task of its service: Swarm may start others in its place.
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
                state[_CONTAINER] = await self._container(name, state)
            if state != self._states.get(name):
                self._learn(name, state)

    def on_event(self, event: Object) -> None:
        """List the tasks at once when an event may concern one of them."""
        attributes = (event.get("Actor") or {}).get("Attributes") or {}
        if (attributes.get(SERVICE_NAME_LABEL) or attributes.get("name")) in self._followed:
            self._list_now.set()

    async def _if_there_is_a_swarm(
        self, ask: Callable[[Sequence[str]], Awaitable[list[str]]]
    ) -> list[str]:
        if self._api.is_podman:
            return []
        try:
            return await ask(self._filters)
        except EngineError as error:
            if error.status == HTTPStatus.SERVICE_UNAVAILABLE:  # the engine is not part of a swarm
                return []
            raise

    async def _wait_and_list(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            pause = _LIST_SECONDS if self._followed else _IDLE_SECONDS
            await within(pause, self._list_now.wait())
        self._list_now.clear()
        await self.relist()

    async def _container(self, name: str, task: Object) -> Object:
        """Inspect a task's container at this node's engine; empty if it runs on another node."""
        known: Object = (self._states.get(name) or {}).get(_CONTAINER) or {}
        if container_status.addresses(known) and self.exit_code(task) is None:
            return known
        # By name: the proxy of examples/docker lets no id through.
        container = task_status.container_name(task, name)
        return (await self._api.inspect_container(container) or {}) if container else {}
