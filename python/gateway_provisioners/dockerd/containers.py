"""Kernels in containers: create, follow, remove."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from gateway_provisioners.aio import Backoff, KeyedWorker
from gateway_provisioners.dockerd.api import SERVICE_NAME_LABEL
from gateway_provisioners.dockerd.images import Images
from gateway_provisioners.dockerd.kernels import Kernels, refuse_root
from gateway_provisioners.dockerd.launched_container import NOT_CREATED, LaunchedContainer
from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.container import status as container_status
from gateway_provisioners.model.container.config import (
    INSTANCE_LABEL,
    NAME_LABEL,
    KernelContainerSpec,
    build_container,
    secrets_archive,
)
from gateway_provisioners.model.container.details import container_details
from gateway_provisioners.model.container.usage import container_usage
from gateway_provisioners.model.failures import LOG_LINES
from gateway_provisioners.model.launch_progress import LaunchProgress, Stage
from gateway_provisioners.model.objects import Object
from gateway_provisioners.model.workload_details import WorkloadDetails


class ContainerKernels(Kernels):
    """The state of a kernel is its inspected container, which each event refreshes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._images = Images(self._api)
        self._inspections = KeyedWorker("inspect", self._inspect, Backoff(1, 30))

    async def stop(self) -> None:
        await self._inspections.finish()
        await super().stop()

    def exit_code(self, state: Object) -> int | None:
        return container_status.exit_code(state)

    def end_cause(self, state: Object) -> str | None:
        return container_status.end_cause(state)

    def progress(self, state: Object) -> Stage:
        return container_status.progress(state)

    def details(self, state: Object) -> WorkloadDetails:
        return container_details(state, str(self._api.info.get("Name") or ""))

    def is_unschedulable(self, state: Object) -> bool:  # noqa: ARG002 - an engine is one node
        return False

    def start_failure(self, state: Object, *, unschedulable_is_final: bool) -> LaunchFailed | None:  # noqa: ARG002
        return container_status.start_failure(state)

    async def create(
        self, spec: KernelContainerSpec, progress: LaunchProgress
    ) -> LaunchedContainer:
        without_image = build_container(spec, {})
        self.admission.admit(spec.name, container_usage(without_image, spec.ownership))
        with self._cleanup_on_failure(spec) as launched:
            image = await self._images.get(
                spec.image,
                pull_policy=spec.image_pull_policy,
                timeout=spec.pull_timeout,
                progress=progress,
            )
            progress.enter(NOT_CREATED)
            refuse_root(spec, image)
            config = build_container(spec, image, log_driver=self._api.log_driver)
            if failure := container_status.would_be_ignored(config, self._api.info):
                raise failure
            await self._api.create_container(spec.name, config)
            await self._api.put_archive(spec.name, secrets_archive(spec))
            self._learn(spec.name, {})  # events are followed from here on
            await self._api.start_container(spec.name)
        return launched

    async def existing(self) -> set[str]:
        return {
            name
            for name, state in self._states.items()
            if not self._keep or name in self.records.stored or self.exit_code(state) is None
        }

    async def adopt(self, name: str) -> LaunchedContainer:
        if state := self.state(name):
            self.admission.adopt(name, container_usage(state, self._stored_ownership(name)))
        return LaunchedContainer(self, name, adopted=True)

    def addresses(self, name: str) -> Sequence[str]:
        return container_status.addresses(self.state(name) or {})

    async def log(self, name: str) -> str:
        return await self._api.container_log(name, lines=LOG_LINES)

    async def remove(self, name: str, *, grace_seconds: int) -> None:
        if grace_seconds or self._keep:
            await self._api.stop_container(name, grace_seconds=grace_seconds)
        if self._keep:
            self._learn(name, await self._api.inspect_container(name))
        else:
            await self._api.remove_container(name)
            self._learn(name, None)

    async def relist(self) -> None:
        """Ask for the state of all containers, known and unknown.

        Raises:
            EngineError: the engine did not answer.
        """
        names = {*await self._api.list_containers(self._filters), *self._states}
        states = await asyncio.gather(*(self._api.inspect_container(name) for name in names))
        for name, state in zip(names, states, strict=True):
            self._learn(name, state)

    def on_event(self, event: Object) -> None:
        """Refresh the state of the container of an event, if it is one of these kernels."""
        attributes = (event.get("Actor") or {}).get("Attributes") or {}
        name = attributes.get(NAME_LABEL)
        if (
            event.get("Type") != "container"
            or SERVICE_NAME_LABEL in attributes
            or attributes.get(INSTANCE_LABEL) != self._instance
            or name not in self._states
        ):
            return
        if event.get("Action") == "destroy":
            self._learn(name, None)
            return
        self._inspections.add(name)

    async def _inspect(self, name: str) -> None:
        state = await self._api.inspect_container(name)
        if name in self._states:  # or it was removed meanwhile
            self._learn(name, state)
