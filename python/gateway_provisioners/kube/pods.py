"""Kernel pods of one namespace: create, follow, remember, remove. Knows no traits and no Jupyter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gateway_provisioners.errors import ClusterError, LaunchFailed
from gateway_provisioners.kube.api import JSON_PATCH, KubeApi
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.model import pod_status
from gateway_provisioners.model.api_refusal import creation_failure
from gateway_provisioners.model.pod_manifest import (
    COMPONENT,
    COMPONENT_LABEL,
    STATE_ANNOTATION,
    STATE_RUNNING,
    KernelPodSpec,
    build_owned_secret,
    build_pod,
    build_record_patch,
    build_secret,
    open_gate_patch,
    read_record,
)
from gateway_provisioners.model.pod_status import StartFailure

Object = dict[str, Any]
T = TypeVar("T")

_NOT_FOUND = 404
_FIRST_REMOVAL_PAUSE_SECONDS = 1.0
_LONGEST_REMOVAL_PAUSE_SECONDS = 30.0

_log = logging.getLogger(__name__)


class KernelPods:
    """All kernel pods of one namespace, seen through one watch of Pods and one of their warnings."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.pods = ObjectCache(
            "pods",
            api.collection("Pod", namespace, label_selector=f"{COMPONENT_LABEL}={COMPONENT}"),
        )
        self.warnings = ObjectCache(
            "events",
            api.collection(
                "Event", namespace, field_selector="involvedObject.kind=Pod,type=Warning"
            ),
        )
        self._removals: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to follow the namespace; returns when its pods are known."""
        self.pods.start()
        self.warnings.start()
        await self.pods.wait_synced()

    async def stop(self) -> None:
        """Stop following; kernels stay untouched, removals under way are finished first."""
        if self._removals:
            await asyncio.wait(self._removals, timeout=_LONGEST_REMOVAL_PAUSE_SECONDS)
        for task in self._removals:
            task.cancel()
        await self.pods.stop()
        await self.warnings.stop()

    async def create(self, spec: KernelPodSpec) -> LaunchedPod:
        """Make the kernel's Pod and Secret.

        Raises:
            LaunchFailed: the API refused; nothing is left behind.
        """
        pod = LaunchedPod(self, spec.name)
        try:
            manifest = await self.api.create_pod(self.namespace, build_pod(spec))
            pod.seen(manifest)
            await self.api.create_secret(self.namespace, build_secret(spec, manifest))
            await self.api.patch_pod(
                self.namespace, spec.name, open_gate_patch(manifest), content_type=JSON_PATCH
            )
        except ClusterError as error:
            pod.remove_soon(grace_seconds=0)
            failure = creation_failure(
                status=error.status, api_reason=error.api_reason, message=str(error)
            )
            raise LaunchFailed(failure.reason, failure.message) from error
        except BaseException:  # cancelled half-way: the pod may exist all the same
            pod.remove_soon(grace_seconds=0)
            raise
        return pod

    def expect(self, name: str) -> LaunchedPod:
        """The handle of a pod that somebody else is about to create."""
        return LaunchedPod(self, name)

    def adopt(self, name: str) -> LaunchedPod:
        """The handle of a pod that another gateway launched and that the watch knows."""
        pod = LaunchedPod(self, name)
        pod.seen(self.pods.objects[name])
        return pod

    async def record(self, name: str) -> Object | None:
        """What `LaunchedPod.remember` stored for the pod `name`, or None."""
        return read_record(await self.api.read_secret(self.namespace, name))

    def remove_soon(self, name: str, *, grace_seconds: int) -> None:
        """Delete a pod in the background, again and again until the API confirms it."""
        task = asyncio.create_task(self._remove(name, grace_seconds), name=f"remove pod {name}")
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)

    async def _remove(self, name: str, grace_seconds: int) -> None:
        pause = _FIRST_REMOVAL_PAUSE_SECONDS
        while True:
            try:
                await self.delete(name, grace_seconds=grace_seconds)
            except ClusterError as error:
                _log.warning("cannot remove pod %s yet: %s", name, error)
                await asyncio.sleep(pause)  # a pause between tries; no event tells of success
                pause = min(pause * 2, _LONGEST_REMOVAL_PAUSE_SECONDS)
            else:
                return

    async def delete(self, name: str, *, grace_seconds: int) -> None:
        """Delete a pod once; one that is gone already is as good.

        Raises:
            ClusterError: the API did not confirm.
        """
        try:
            await self.api.delete_pod(self.namespace, name, grace_seconds=grace_seconds)
        except ClusterError as error:
            if error.status != _NOT_FOUND:
                raise


class LaunchedPod:
    """One pod, from its creation until it is gone, as the watch tells it."""

    def __init__(self, pods: KernelPods, name: str) -> None:
        self.name = name
        self._pods = pods
        self._pod: Object = {}
        self._gone = False
        self._removing = False
        self._waiters: set[asyncio.Event] = set()
        # Before the pod is created: the watch may tell of it before the answer to its POST comes.
        self._unsubscribe = pods.pods.subscribe(self._on_change, name=name)

    @property
    def address(self) -> str | None:
        """The pod's IP address, once known."""
        return pod_status.pod_ip(self._pod)

    @property
    def progress(self) -> str:
        """How far the pod has come, in words."""
        return pod_status.progress(self._pod)

    def exit_code(self) -> int | None:
        """The kernel's exit code, or None while nothing says that it ended."""
        code = pod_status.exit_code(self._pod)
        if code is None and (self._gone or self._removing):
            return pod_status.EXIT_CODE_OF_LOST_POD
        return code

    def end_cause(self) -> str | None:
        """Why the pod ended, in words, if it was not this process that ended it."""
        return None if self._removing else pod_status.end_cause(self._pod)

    def seen(self, manifest: Object) -> None:
        """Take the answer to the pod's POST as its first state, unless the watch was faster."""
        if not self._pod:
            self._pod = manifest

    async def wait_address(self) -> str:
        """The pod's address, as soon as it has one."""
        return await self._until(lambda: self.address)

    async def wait_gone(self) -> None:
        """Return when the API no longer has the pod."""
        await self._until(lambda: self._gone or None)

    async def start_failure(self, *, unschedulable_grace: float) -> StartFailure:
        """Why the pod cannot start; never returns for a pod that can.

        Args:
            unschedulable_grace: seconds to wait for a node to appear before giving up.
        """
        watchers = [
            asyncio.create_task(self._status_failure(unschedulable_grace)),
            asyncio.create_task(self._event_failure()),
        ]
        try:
            done, _ = await asyncio.wait(watchers, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for watcher in watchers:
                watcher.cancel()

    async def log_tail(self, lines: int = 20) -> str:
        """The last lines that the kernel's container printed, or "" where there is no log."""
        try:
            return await self._pods.api.pod_log(
                self._pods.namespace,
                self.name,
                container=pod_status.kernel_container(self._pod),
                lines=lines,
            )
        except ClusterError as error:
            _log.info("no log of pod %s: %s", self.name, error)
            return ""

    async def remember(self, record: Mapping[str, Any]) -> None:
        """Store what another gateway needs to take the kernel over, and mark the pod as running.

        Raises:
            ClusterError: it could not be stored.
        """
        await self._store(build_record_patch(record))
        running = {"metadata": {"annotations": {STATE_ANNOTATION: STATE_RUNNING}}}
        await self._pods.api.patch_pod(self._pods.namespace, self.name, running)

    async def mark(self, metadata: Mapping[str, Any]) -> None:
        """Merge labels, annotations and owners into a pod that somebody else created.

        Raises:
            LaunchFailed: there is no such pod, or the API refused.
        """
        try:
            pod = await self._pods.api.patch_pod(
                self._pods.namespace, self.name, {"metadata": metadata}
            )
        except ClusterError as error:
            msg = f"The kernelspec's launch script made no pod {self.name}: {error}"
            raise LaunchFailed("LaunchScript", msg) from error
        self.seen(pod)

    async def _store(self, patch: Mapping[str, Any]) -> None:
        try:
            await self._pods.api.patch_secret(self._pods.namespace, self.name, patch)
        except ClusterError as error:
            if error.status != _NOT_FOUND:
                raise
            # A pod that a kernelspec's own script made has no Secret of ours yet.
            secret = build_owned_secret(self._pod, data=patch["data"])
            await self._pods.api.create_secret(self._pods.namespace, secret)

    async def remove(self, *, grace_seconds: int) -> None:
        """Delete the pod; where the API does not answer, go on trying in the background.

        It counts as ended from here on: nothing will come back from it.
        """
        try:
            await self._pods.delete(self.name, grace_seconds=grace_seconds)
        except ClusterError as error:
            _log.warning("cannot remove pod %s yet: %s", self.name, error)
            self.remove_soon(grace_seconds=grace_seconds)
        self._ended()

    def remove_soon(self, *, grace_seconds: int) -> None:
        """Like `remove`, wholly in the background."""
        self._pods.remove_soon(self.name, grace_seconds=grace_seconds)
        self._ended()

    def forget(self) -> None:
        """Stop following the pod, which stays as it is."""
        self._unsubscribe()

    def _ended(self) -> None:
        self._removing = True
        self._wake()

    def _on_change(self, change: str, pod: Object) -> None:
        self._pod = pod
        self._gone = change == "DELETED"
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            waiter.set()

    async def _until(self, reading: Callable[[], T | None]) -> T:
        """The first value other than None that `reading` gives, now or after a change."""
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            while (value := reading()) is None:
                await changed.wait()
                changed.clear()
            return value
        finally:
            self._waiters.discard(changed)

    async def _status_failure(self, grace: float) -> StartFailure:
        def failure(*, unschedulable_is_final: bool) -> StartFailure | None:
            if self._gone:
                return StartFailure("Deleted", "Its pod was deleted while it was starting.")
            return pod_status.start_failure(
                self._pod, unschedulable_is_final=unschedulable_is_final
            )

        while True:
            found = await self._until(
                lambda: (
                    failure(unschedulable_is_final=not grace)
                    or (pod_status.is_unschedulable(self._pod) or None)
                )
            )
            if isinstance(found, StartFailure):
                return found
            try:
                await asyncio.wait_for(
                    self._until(lambda: not pod_status.is_unschedulable(self._pod) or None), grace
                )
            except asyncio.TimeoutError:
                if still := failure(unschedulable_is_final=True):
                    return still

    async def _event_failure(self) -> StartFailure:
        found: asyncio.Future[StartFailure] = asyncio.get_running_loop().create_future()

        def on_event(_change: str, event: Object) -> None:
            if event.get("involvedObject", {}).get("name") != self.name or found.done():
                return
            if failure := pod_status.event_failure(event):
                found.set_result(failure)

        unsubscribe = self._pods.warnings.subscribe(on_event)
        try:
            return await found
        finally:
            unsubscribe()
