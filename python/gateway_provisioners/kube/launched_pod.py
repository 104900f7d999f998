"""One kernel pod, from its creation until it is gone, as the watch tells it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway_provisioners.errors import ClusterError, KernelBusy, LaunchFailed
from gateway_provisioners.model.failures import EXIT_CODE_OF_LOST, StartFailure
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.pod import status as pod_status
from gateway_provisioners.model.pod.kernel_state import (
    ENDING,
    OPERATOR_ANNOTATION,
    RESTARTING,
    RUNNING,
    STATE_ANNOTATION,
    read_state,
)
from gateway_provisioners.model.pod.manifest import build_owned_secret, build_record_patch
from gateway_provisioners.tasks.changes import Changes

if TYPE_CHECKING:
    from gateway_provisioners.kube.pods import KernelPods

Object = dict[str, Any]

_NOT_FOUND = 404

_log = logging.getLogger(__name__)


class LaunchedPod:
    """The handle of one pod; `forget` it when it is of no more interest."""

    def __init__(self, pods: KernelPods, name: str) -> None:
        self.name = name
        self._pods = pods
        self._pod: Object = {}
        self._gone = False
        self._removing = False
        self._changes = Changes()
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
            return EXIT_CODE_OF_LOST
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
        return await self._changes.until(lambda: self.address)

    async def wait_gone(self) -> None:
        """Return when the API no longer has the pod, or has it as one that takes up nothing."""
        await self._changes.until(lambda: self._gone or pod_status.has_ended(self._pod) or None)

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

    async def remember(self, record: KernelRecord) -> None:
        """Store what another gateway needs to take the kernel over, and mark the pod as running.

        Raises:
            ClusterError: it could not be stored.
        """
        await self._store(build_record_patch(record.to_json()))
        await self._pods.annotate(self.name, {STATE_ANNOTATION: RUNNING, OPERATOR_ANNOTATION: ""})

    @property
    def is_busy_elsewhere(self) -> bool:
        """Whether another process is restarting or ending the kernel."""
        state = read_state(self._pod) if self._pod else None
        return (
            state is not None
            and state.state in (RESTARTING, ENDING)
            and state.operator != self._pods.process
        )

    async def begin_restart(self) -> None:
        """Keep all others from restarting the kernel from here on.

        Raises:
            KernelBusy: somebody else restarts or ends it.
            ClusterError: the API did not answer.
        """
        await self._change_state(RUNNING, RESTARTING)

    async def give_up_restart(self) -> None:
        """Leave the kernel, dead as it is, to whoever restarts dead kernels."""
        try:
            await self._change_state(RESTARTING, RUNNING)
        except (ClusterError, KernelBusy) as error:
            _log.warning("pod %s: %s", self.name, error)

    async def replaced(self) -> None:
        """Remove the pod, in whose place another one is the kernel now.

        Raises:
            KernelBusy: the kernel was ended meanwhile; what replaces this pod has to go as well.
        """
        try:
            await self._change_state(RESTARTING, ENDING)
        except ClusterError as error:
            _log.warning("pod %s: %s", self.name, error)
        self.discard_soon()

    async def _change_state(self, before: str, after: str) -> None:
        if self._gone:  # deleted behind our back: nobody else has a claim on it either
            return
        if not await self._pods.change_state(self.name, before, after):
            raise KernelBusy("It is being restarted or shut down by somebody else; try again.")

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

    async def stop(self) -> None:
        """End what runs in the pod and keep the pod, with all that is remembered of the kernel.

        It counts as ended from here on: nothing will come back from it.

        Raises:
            ClusterError: the API did not answer.
        """
        # A pod that has run for that long is ended by its kubelet; a pod that was deleted would be gone.
        deadline = {"spec": {"activeDeadlineSeconds": 1}}
        try:
            await self._pods.api.patch_pod(self._pods.namespace, self.name, deadline)
        except ClusterError as error:
            if error.status != _NOT_FOUND:
                raise
        self._ended()

    async def remove(self, *, grace_seconds: int) -> None:
        """End the kernel; where the API does not answer, go on trying in the background.

        It counts as ended from here on: nothing will come back from it.
        """
        try:
            await self._pods.end(self.name, grace_seconds=grace_seconds)
        except ClusterError as error:
            _log.warning("cannot remove pod %s yet: %s", self.name, error)
            self._pods.end_soon(self.name, grace_seconds=grace_seconds)
        self._ended()

    def discard_soon(self) -> None:
        """Delete this pod and no other of its kernel, in the background."""
        self._pods.remove_soon(self.name)
        self._ended()

    def forget(self) -> None:
        """Stop following the pod, which stays as it is."""
        self._unsubscribe()

    def _ended(self) -> None:
        self._removing = True
        self._changes.changed()

    def _on_change(self, change: str, pod: Object) -> None:
        self._pod = pod
        self._gone = change == "DELETED"
        self._changes.changed()

    async def _status_failure(self, grace: float) -> StartFailure:
        def failure(*, unschedulable_is_final: bool) -> StartFailure | None:
            if self._gone:
                return StartFailure("Deleted", "Its pod was deleted while it was starting.")
            return pod_status.start_failure(
                self._pod, unschedulable_is_final=unschedulable_is_final
            )

        while True:
            found = await self._changes.until(
                lambda: (
                    failure(unschedulable_is_final=not grace)
                    or (pod_status.is_unschedulable(self._pod) or None)
                )
            )
            if isinstance(found, StartFailure):
                return found
            try:
                await asyncio.wait_for(
                    self._changes.until(lambda: not pod_status.is_unschedulable(self._pod) or None),
                    grace,
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
