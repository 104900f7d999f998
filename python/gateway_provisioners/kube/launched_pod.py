"""One kernel pod, from its creation until it is gone, as the watch reports it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

from gateway_provisioners.aio import Changes
from gateway_provisioners.errors import ClusterError, KernelBusy, LaunchFailed
from gateway_provisioners.kube.api import KubeApi
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.model.condition import Condition
from gateway_provisioners.model.failures import EXIT_CODE_OF_LOST, LOG_LINES, last_lines
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.launch_progress import Stage
from gateway_provisioners.model.objects import Object
from gateway_provisioners.model.pod import ends
from gateway_provisioners.model.pod import status as pod_status
from gateway_provisioners.model.pod.conditions import StartConditions
from gateway_provisioners.model.pod.containers import containers_with_logs
from gateway_provisioners.model.pod.details import pod_details
from gateway_provisioners.model.pod.kernel_state import (
    ENDING,
    OPERATOR_ANNOTATION,
    RESTARTING,
    RUNNING,
    STATE_ANNOTATION,
    read_state,
)
from gateway_provisioners.model.pod.manifest import build_owned_secret, build_record_patch
from gateway_provisioners.model.pod.progress import progress
from gateway_provisioners.model.workload_details import WorkloadDetails

_log = logging.getLogger(__name__)


class PodOperations(Protocol):
    """The part of `KernelPods` that the handle of one pod needs; documented there."""

    api: KubeApi
    namespace: str
    process: str
    cache: ObjectCache
    events: ObjectCache

    def announce(self, pod: Object, stage: Stage) -> None: ...

    async def annotate(self, name: str, annotations: Mapping[str, str | None]) -> None: ...

    async def change_state(self, name: str, before: str, after: str) -> bool: ...

    async def remove_kernel(self, name: str, *, grace_seconds: int) -> None: ...

    def remove_soon(self, name: str) -> None: ...


class LaunchedPod:
    """A `Workload` that is a pod; other gateways may restart or end its kernel as well."""

    def __init__(self, pods: PodOperations, name: str) -> None:
        self.name = name
        self._pods = pods
        self._pod: Object = {}
        self._conditions = StartConditions()
        self._gone = False
        self._end_cause: str | None = None
        self._removing = False
        self._changes = Changes()
        # Before the pod is created: the watch may report it before the answer to its POST comes.
        self._unsubscribe = pods.cache.subscribe(self._on_change, name=name)

    @property
    def progress(self) -> Stage:
        return progress(self._pod, self._conditions)

    async def wait_progress(self, known: Stage) -> None:
        await self._changes.until(lambda: self.progress != known or None)

    def announce(self, stage: Stage) -> None:
        if self._pod:
            self._pods.announce(self._pod, stage)

    @property
    def condition(self) -> Condition | None:
        return self._conditions.present

    @property
    def details(self) -> WorkloadDetails:
        return pod_details(self._pod)

    def exit_code(self) -> int | None:
        code = pod_status.exit_code(self._pod)
        if code is None and (self._gone or self._removing):
            return EXIT_CODE_OF_LOST
        return code

    def end_cause(self) -> str | None:
        return self._end_cause

    async def wait_end_explained(self) -> None:
        # The container's end may come before the reason for which the kubelet ended the pod.
        await self._changes.until(lambda: self._end_cause or self._has_ended or None)

    @property
    def _has_ended(self) -> bool:
        return self._gone or pod_status.has_ended(self._pod)

    def seen(self, manifest: Object) -> None:
        """Take the answer to the pod's POST as its first state, unless the watch was faster."""
        if not self._pod:
            self._take(manifest)

    async def wait_address(self, preferred: str = "") -> str:
        known = await self._changes.until(lambda: pod_status.addresses(self._pod) or None)
        return preferred if preferred in known else known[0]

    async def wait_gone(self) -> None:
        await self._changes.until(lambda: self._has_ended or None)

    async def start_failure(self, *, unschedulable_grace: float) -> LaunchFailed:
        unsubscribe = self._pods.events.subscribe(self._on_event)
        try:
            return await self._changes.until_final(
                self._failure,
                may_pass=lambda: self._conditions.is_unschedulable,
                grace=unschedulable_grace,
            )
        finally:
            unsubscribe()

    async def wait_unobstructed(self) -> None:
        await self._changes.until(lambda: not (self.condition and self.condition.can_pass) or None)

    async def log_tail(self) -> str:
        containers = containers_with_logs(self._pod)
        if len(containers) == 1:
            return last_lines(await self._log_of(containers[0]))
        logs = [(name, await self._log_of(name)) for name in containers]
        return "\n".join(
            f"{name}:\n{last_lines(log, share=len(logs))}" for name, log in logs if log
        )

    async def _log_of(self, container: str) -> str:
        try:
            return await self._pods.api.pod_log(
                self._pods.namespace, self.name, container=container, lines=LOG_LINES
            )
        except ClusterError as error:
            _log.info("No log of container %s of pod %s: %s", container, self.name, error)
            return ""

    async def remember(self, record: KernelRecord) -> None:
        """Store the record in the pod's Secret, and mark the pod as running.

        Raises:
            ClusterError: it could not be stored.
        """
        await self._store(build_record_patch(record.to_json()))
        await self._pods.annotate(self.name, {STATE_ANNOTATION: RUNNING, OPERATOR_ANNOTATION: ""})

    @property
    def is_busy_elsewhere(self) -> bool:
        state = read_state(self._pod) if self._pod else None
        return (
            state is not None
            and state.state in (RESTARTING, ENDING)
            and state.operator != self._pods.process
        )

    async def begin_restart(self) -> None:
        await self._change_state(RUNNING, RESTARTING)

    async def give_up_restart(self) -> None:
        try:
            await self._change_state(RESTARTING, RUNNING)
        except (ClusterError, KernelBusy) as error:
            _log.warning("Pod %s: %s", self.name, error)

    async def remove_replaced(self) -> None:
        try:
            await self._change_state(RESTARTING, ENDING)
        except ClusterError as error:
            _log.warning("Pod %s: %s", self.name, error)
        self.remove_soon()

    async def _change_state(self, before: str, after: str) -> None:
        if self._gone:  # deleted by another client of the API: no other gateway has a claim either
            return
        if not await self._pods.change_state(self.name, before, after):
            raise KernelBusy(
                "Another gateway is restarting the kernel or shutting it down; try again."
            )

    async def mark(self, metadata: Mapping[str, Any]) -> None:
        """Merge labels, annotations and owners into a pod that a launch script created.

        Raises:
            LaunchFailed: the pod does not exist, or the API refused.
        """
        try:
            pod = await self._pods.api.patch_pod(
                self._pods.namespace, self.name, {"metadata": metadata}
            )
        except ClusterError as error:
            msg = f"The kernelspec's launch script did not create the pod {self.name}: {error}"
            raise LaunchFailed("LaunchScript", msg) from error
        self.seen(pod)

    async def _store(self, patch: Mapping[str, Any]) -> None:
        try:
            await self._pods.api.patch_secret(self._pods.namespace, self.name, patch)
        except ClusterError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            # A pod that a kernelspec's own script made has no Secret yet.
            secret = build_owned_secret(self._pod, data=patch["data"])
            await self._pods.api.create_secret(self._pods.namespace, secret)

    async def stop(self) -> None:
        """See `Workload.stop`.

        Raises:
            ClusterError: the API did not answer.
        """
        # The kubelet ends a pod that has run for that long; a pod that was deleted would be gone.
        deadline = {"spec": {"activeDeadlineSeconds": ends.STOP_DEADLINE_SECONDS}}
        try:
            await self._pods.api.patch_pod(self._pods.namespace, self.name, deadline)
        except ClusterError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        self._set_removing()

    async def remove(self, *, grace_seconds: int) -> None:
        await self._pods.remove_kernel(self.name, grace_seconds=grace_seconds)
        self._set_removing()

    def remove_soon(self) -> None:
        """Delete this pod and no other of its kernel, in the background."""
        self._pods.remove_soon(self.name)
        self._set_removing()

    def release(self) -> None:
        self._unsubscribe()

    def _set_removing(self) -> None:
        self._removing = True
        self._changes.changed()

    def _on_change(self, change: str, pod: Object) -> None:
        self._gone = change == "DELETED"
        self._take(pod)
        self._changes.changed()

    def _take(self, pod: Object) -> None:
        self._pod = pod
        # The first cause is the right one: later states are those of a restart or a removal.
        self._end_cause = self._end_cause or ends.end_cause(
            pod, gone=self._gone, by_gateway=self._removing
        )
        self._conditions.see_pod(pod)

    def _on_event(self, _change: str, event: Object) -> None:
        if event.get("involvedObject", {}).get("name") == self.name:
            self._conditions.see_event(event)
            self._changes.changed()

    def _failure(self, is_final: bool) -> LaunchFailed | None:
        if self._gone:
            return ends.deleted(self._pod)
        return self._conditions.failure(unschedulable_is_final=is_final)
