"""Kernel pods of one namespace: create, follow, change, remove. Knows no Jupyter."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from http import HTTPStatus

from gateway_provisioners.aio import Background
from gateway_provisioners.errors import (
    ClusterError,
    ForeignKernelId,
    GatewayProvisionersError,
    KernelBusy,
    PolicyViolation,
)
from gateway_provisioners.kube.api import JSON_PATCH, Collection, KubeApi
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.kube.event_writer import EventWriter
from gateway_provisioners.kube.finder import Finder
from gateway_provisioners.kube.launched_pod import LaunchedPod
from gateway_provisioners.kube.pod_creation import PodCreation
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.launch_progress import LaunchProgress, Stage
from gateway_provisioners.model.objects import Object
from gateway_provisioners.model.ownership import OWNER_ANNOTATION, Ownership
from gateway_provisioners.model.pod.api_refusal import creation_failure
from gateway_provisioners.model.pod.event import REPORTING_COMPONENT, build_event
from gateway_provisioners.model.pod.kernel_state import (
    ENDING,
    KERNEL_ID_LABEL,
    LAUNCHING,
    RUNNING,
    PodState,
    annotation,
    annotations_change,
    annotations_patch,
    ending_patch,
    kernel_id_of,
    read_state,
    state_change,
)
from gateway_provisioners.model.pod.manifest import (
    COMPONENT,
    COMPONENT_LABEL,
    KernelPodSpec,
    account_of,
    build_pod,
    build_secret,
    read_record,
)
from gateway_provisioners.model.pod.status import own_addresses
from gateway_provisioners.model.pod.usage import counted_usage, usage
from gateway_provisioners.model.quota import KernelQuota, KernelUsage

_log = logging.getLogger(__name__)

# Warnings, what an autoscaler reports, and the beginning of a pull. The latter two are of type Normal, as
# are the Events that each pod has, and most of the gateways' own. A selector knows no "or".
_EVENTS = ",".join(
    [
        "involvedObject.kind=Pod",
        f"reportingComponent!={REPORTING_COMPONENT}",
        *(f"reason!={each}" for each in ("Scheduled", "Pulled", "Created", "Started", "Killing")),
    ]
)


class KernelPods:
    """All kernel pods of one namespace, seen through one watch of Pods and one of their Events.

    Args:
        instance: the kernels' value of the label app.kubernetes.io/instance.
        process: the name of this process, which it writes where it changes a pod's state.
        quota: the most that the kernels may be, and use, at once.
        prohibited_account: the ServiceAccount that no kernel may have, or "".
    """

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        *,
        instance: str,
        process: str,
        quota: KernelQuota,
        prohibited_account: str = "",
    ) -> None:
        self.api = api
        self.namespace = namespace
        self.instance = instance
        self.process = process
        self.quota = quota
        self._prohibited_account = prohibited_account
        self.cache = ObjectCache("pods", self._collection())
        self._names_by_kernel: defaultdict[str, set[str]] = defaultdict(set)
        # By pod; kept only where there is a quota.
        self._usages: dict[str, KernelUsage] = {}
        self.cache.subscribe(self._index)
        self.events = ObjectCache(
            "events", api.collection("Event", namespace, field_selector=_EVENTS)
        )
        self._removals = Background()
        self._announcements = EventWriter(lambda event: api.create_event(namespace, event))
        self._finder = Finder(self._learn_of)

    def _collection(self, *conditions: str) -> Collection:
        selector = ",".join([f"{COMPONENT_LABEL}={COMPONENT}", *conditions])
        return self.api.collection("Pod", self.namespace, label_selector=selector)

    async def start(self) -> None:
        """Begin to follow the namespace; returns when its pods are known."""
        self.cache.start()
        self.events.start()
        await self.cache.wait_synced()

    async def stop(self) -> None:
        """Stop following, after the removals under way; kernels stay untouched."""
        await self._finder.stop()
        await self._removals.finish()
        await self._announcements.stop()
        await self.cache.stop()
        await self.events.stop()

    async def create(
        self, spec: KernelPodSpec, progress: LaunchProgress, *, timeout: float = 0
    ) -> LaunchedPod:
        """Make the kernel's Pod and Secret.

        Args:
            progress: takes what keeps the pod from being created.
            timeout: seconds for which a request is repeated that the API may accept in a moment.

        Raises:
            KernelBusy: another gateway restarts the same kernel.
            ForeignKernelId: another user starts one with the same id.
            PolicyViolation: its ServiceAccount is the gateway's, or it would exceed a quota; nothing is left
                behind.
            LaunchFailed: the API refused; nothing is left behind.
        """
        manifest = build_pod(spec)
        self._refuse_account(manifest)
        self._refuse_beyond_quota(manifest, spec.kernel_id)
        pod = LaunchedPod(self, spec.name)
        refusal = self._refusal_when_seen(spec)
        creation = PodCreation(self.api, spec, timeout=timeout, progress=progress)
        try:
            manifest = await creation.create_pod(manifest)
            pod.seen(manifest)
            await creation.create_secret(build_secret(spec, manifest))
            _raise_if_refused(await refusal)
            await creation.open_gate(self.cache.objects.get(spec.name, manifest))
        except ClusterError as error:
            if error.api_reason == "AlreadyExists":  # another gateway's, for the same kernel
                pod.release()
                raise KernelBusy("Another gateway is restarting the kernel; try again.") from error
            pod.remove_soon()
            raise creation_failure(
                status=error.status, api_reason=error.api_reason, message=str(error)
            ) from error
        except BaseException:  # cancelled half-way: the pod may exist all the same
            pod.remove_soon()
            raise
        finally:
            refusal.cancel()
        return pod

    def _refuse_account(self, manifest: Object) -> None:
        if self._prohibited_account and account_of(manifest) == self._prohibited_account:
            raise PolicyViolation(
                "The kernel would get the ServiceAccount of the gateway, and so all rights of the gateway. "
                "Ask the administrator for another one in its kernelspec."
            )

    def refuse_beyond_quota(self, spec: KernelPodSpec) -> None:
        """Check that one more kernel may run, as far as the watch knows.

        Raises:
            PolicyViolation: it would exceed a quota.
        """
        self._refuse_beyond_quota(build_pod(spec), spec.kernel_id)

    def _refuse_beyond_quota(self, manifest: Object, kernel_id: str) -> None:
        _raise_if_refused(self._refusal(manifest, kernel_id, is_complete=False))

    def _refusal(self, pod: Object, kernel_id: str, *, is_complete: bool) -> PolicyViolation | None:
        if not self.quota:
            return None
        new = usage(pod, kernel_id)
        return self.quota.refusal(self._usages.values(), new, is_complete=is_complete)

    def _refusal_when_seen(
        self, spec: KernelPodSpec
    ) -> asyncio.Future[GatewayProvisionersError | None]:
        """Return a future of the refusal, or None, which is done when the watch reports the kernel's pod."""
        refusal: asyncio.Future[GatewayProvisionersError | None]
        refusal = asyncio.get_running_loop().create_future()
        if not self.quota and not spec.ownership.owner:
            refusal.set_result(None)
            return refusal

        def on_change(_change: str, pod: Object) -> None:
            if refusal.done():
                return
            if self._is_anothers(spec):
                refusal.set_result(ForeignKernelId("Another user has a kernel with this id."))
            else:
                # The API server has added the defaults of LimitRanges.
                refusal.set_result(self._refusal(pod, spec.kernel_id, is_complete=True))

        unsubscribe = self.cache.subscribe(on_change, name=spec.name)
        refusal.add_done_callback(lambda _: unsubscribe())
        return refusal

    def _is_anothers(self, spec: KernelPodSpec) -> bool:
        """Return whether another user has a kernel of this id, which clients may choose.

        Gateways would otherwise take the newer pod for the kernel, and remove the older one.
        """
        pods = (self.cache.objects[name] for name in self._names_by_kernel[spec.kernel_id])
        return any(
            annotation(pod, OWNER_ANNOTATION) != spec.ownership.owner
            and pod["metadata"]["name"] != spec.name
            and spec.attempt == 1
            for pod in pods
        )

    def expect(self, name: str) -> LaunchedPod:
        """Return the handle of a pod that a launch script is about to create."""
        return LaunchedPod(self, name)

    def adopt(self, name: str) -> LaunchedPod:
        """Return the handle of a pod that another gateway launched and that the watch has reported."""
        pod = LaunchedPod(self, name)
        pod.seen(self.cache.objects[name])
        return pod

    def kernel_ids(self) -> set[str]:
        """Return the ids of the kernels that have a pod."""
        return set(self._names_by_kernel)

    def of_kernel(self, kernel_id: str) -> list[PodState]:
        """Return the pods of one kernel, as far as the watch knows."""
        names = self._names_by_kernel.get(kernel_id, ())
        return [read_state(self.cache.objects[name]) for name in sorted(names)]

    def _index(self, change: str, pod: Object) -> None:
        """Index a pod by its kernel, so that no look-up of a kernel goes through all pods, and count it."""
        kernel_id, name = kernel_id_of(pod, self.instance), pod["metadata"]["name"]
        if change != "DELETED" and kernel_id:
            self._names_by_kernel[kernel_id].add(name)
        elif names := self._names_by_kernel.get(kernel_id):
            names.discard(name)
            if not names:
                del self._names_by_kernel[kernel_id]
        exists = change != "DELETED" and bool(self.quota)
        if exists and (counted := counted_usage(pod, self.instance)):
            self._usages[name] = counted
        else:
            self._usages.pop(name, None)

    def follow_addresses(self, listener: Callable[[str, Sequence[str]], None]) -> None:
        """Call `listener` with a pod's name and addresses: for each one now, and on each change.

        These are the kernel pods of the whole namespace, those of other gateways as well.
        """

        def on_change(change: str, pod: Object) -> None:
            listener(pod["metadata"]["name"], () if change == "DELETED" else own_addresses(pod))

        self.cache.subscribe(on_change)
        for pod in self.cache.objects.values():
            on_change("ADDED", pod)

    async def find(self, kernel_id: str) -> None:
        """Ask the API itself for the pods of a kernel that the watch may not have reported yet.

        Raises:
            ClusterError: it did not answer.
        """
        with contextlib.suppress(ValueError):
            if kernel_id == str(uuid.UUID(kernel_id)):  # as the ids of all kernels
                await self._finder.find(kernel_id)

    async def _learn_of(self, kernel_ids: Iterable[str]) -> None:
        found, _ = await self._collection(f"{KERNEL_ID_LABEL} in ({','.join(kernel_ids)})").list()
        for pod in found:
            self.cache.learn(pod)

    async def record(self, name: str) -> KernelRecord | None:
        """Read the record that `LaunchedPod.remember` stored for the pod `name`, or None.

        Raises:
            ClusterError: the Secret does not exist, or the API did not answer.
            NewerRecord: a gateway of a later release stored it.
            ProtocolError: it is malformed.
        """
        stored = read_record(await self.api.read_secret(self.namespace, name))
        return None if stored is None else KernelRecord.from_json(stored)

    async def change_state(
        self, name: str, before: str, after: str, *, operator: str | None = None
    ) -> bool:
        """Change the state of a pod; returns False if the pod was not in the state `before`.

        Args:
            before: the state that the pod must be in; each state but RUNNING has an operator.
            operator: the process that set `before`; None: this process.

        Raises:
            ClusterError: the API did not answer.
        """
        patch = state_change(
            (before, self._operator_of(before) if operator is None else operator),
            (after, self._operator_of(after)),
        )
        try:
            changed = await self.api.patch_pod(self.namespace, name, patch, content_type=JSON_PATCH)
        except ClusterError as error:
            # 422: the test in the patch failed.
            if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY):
                return False
            raise
        self.cache.learn(changed)
        return True

    def _operator_of(self, state: str) -> str:
        return "" if state == RUNNING else self.process

    async def store_ownership(self, kernel_id: str, ownership: Ownership) -> None:
        """Store in the kernel's pod whose kernel it is.

        Raises:
            KernelBusy: the kernel is being restarted or ended, perhaps by another gateway: its next pod
                would not have it.
            ClusterError: the API refused or did not answer.
        """
        pods = self.of_kernel(kernel_id)
        busy = KernelBusy("The kernel is being restarted or ended; try again.")
        if len(pods) != 1:
            raise busy
        patch = annotations_change(RUNNING, ownership.annotations())
        try:
            changed = await self.api.patch_pod(
                self.namespace, pods[0].name, patch, content_type=JSON_PATCH
            )
        except ClusterError as error:
            if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY):
                raise busy from error
            raise
        self.cache.learn(changed)

    async def cancel_start(self, kernel_id: str, may_cancel: Callable[[Ownership], bool]) -> bool:
        """Mark the pod of a start by another gateway as ended on purpose, and remove it.

        Args:
            may_cancel: returns whether the client may, by the kernel's owner.

        Returns:
            False if there is no such start, or the kernel has just started.

        Raises:
            ClusterError: the API did not answer.
        """
        for pod in self.of_kernel(kernel_id):
            annotations = self.cache.objects[pod.name]["metadata"].get("annotations") or {}
            owner = Ownership.from_annotations(annotations) or Ownership()
            is_start = pod.state == LAUNCHING and pod.attempt == 1 and pod.operator != self.process
            if (
                is_start
                and may_cancel(owner)
                and await self.change_state(pod.name, LAUNCHING, ENDING, operator=pod.operator)
            ):
                self.remove_soon(pod.name)
                return True
        return False

    async def annotate(self, name: str, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of a pod; None removes one.

        Raises:
            ClusterError: the API refused or did not answer.
        """
        patch = annotations_patch(annotations)
        self.cache.learn(await self.api.patch_pod(self.namespace, name, patch))

    def announce(self, pod: Object, stage: Stage) -> None:
        """Write an Event about a pod, in the background; if the API refuses, the log says so."""
        self._announcements.write(build_event(pod, stage, datetime.now(timezone.utc)))

    async def remove_kernel(self, name: str, *, grace_seconds: int) -> None:
        """Delete all pods of the kernel in the pod `name`, marked as ended on purpose.

        If the API does not confirm it, this goes on in the background.
        """

        async def remove() -> None:
            await self._remove_kernel(name, grace_seconds=grace_seconds)

        try:
            await remove()
        except ClusterError as error:
            _log.warning("cannot remove pod %s yet: %s", name, error)
            self._removals.begin(f"remove the kernel in pod {name}", remove)

    async def _remove_kernel(self, name: str, *, grace_seconds: int) -> None:
        pod = self.cache.objects.get(name)
        kernel_id = kernel_id_of(pod, self.instance) if pod else ""
        others = {other.name for other in self.of_kernel(kernel_id)} if kernel_id else set()
        for each in [name, *sorted(others - {name})]:
            try:
                await self.api.patch_pod(self.namespace, each, ending_patch(self.process))
            except ClusterError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    continue
                raise
            await self._remove(each, grace_seconds=grace_seconds)

    def remove_soon(self, name: str) -> None:
        """Kill and delete one pod that is not a kernel, in the background until the API confirms it."""
        self._removals.begin(f"remove pod {name}", lambda: self._remove(name, grace_seconds=0))

    async def _remove(self, name: str, *, grace_seconds: int) -> None:
        try:
            await self.api.delete_pod(self.namespace, name, grace_seconds=grace_seconds)
        except ClusterError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise


def _raise_if_refused(refusal: GatewayProvisionersError | None) -> None:
    if refusal:
        raise refusal
