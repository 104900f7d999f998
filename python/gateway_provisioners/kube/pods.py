"""Kernel pods of one namespace: create, follow, change, remove. Knows no traits and no Jupyter."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from gateway_provisioners.errors import ClusterError, KernelBusy, LaunchFailed, TooManyKernels
from gateway_provisioners.kube.api import JSON_PATCH, KubeApi
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.kube.launched_pod import LaunchedPod
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.pod.admission import Limits
from gateway_provisioners.model.pod.api_refusal import creation_failure
from gateway_provisioners.model.pod.kernel_state import (
    KERNEL_ID_LABEL,
    RUNNING,
    PodState,
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
    build_pod,
    build_secret,
    label_value,
    open_gate_patch,
    read_record,
)
from gateway_provisioners.tasks.background import Background

Object = dict[str, Any]

_NOT_FOUND = 404
_UNPROCESSABLE = 422  # a JSON patch whose test failed


class KernelPods:
    """All kernel pods of one namespace, seen through one watch of Pods and one of their warnings.

    Args:
        instance: whose kernels: a value of the label app.kubernetes.io/instance.
        process: the name of this process, which goes where it changes a pod's state.
        limits: how many kernels there may be.
    """

    def __init__(
        self, api: KubeApi, namespace: str, *, instance: str, process: str, limits: Limits
    ) -> None:
        self.api = api
        self.namespace = namespace
        self.instance = instance
        self.process = process
        self.limits = limits
        self.pods = ObjectCache("pods", self._collection())
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        """The names of each kernel's pods."""
        self.pods.subscribe(self._file)
        self.warnings = ObjectCache(
            "events",
            api.collection(
                "Event", namespace, field_selector="involvedObject.kind=Pod,type=Warning"
            ),
        )
        self._removals = Background()

    def _collection(self, **more_labels: str) -> Any:
        labels = {COMPONENT_LABEL: COMPONENT, **more_labels}
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        return self.api.collection("Pod", self.namespace, label_selector=selector)

    async def start(self) -> None:
        """Begin to follow the namespace; returns when its pods are known."""
        self.pods.start()
        self.warnings.start()
        await self.pods.wait_synced()

    async def stop(self) -> None:
        """Stop following; kernels stay untouched, removals under way are finished first."""
        await self._removals.finish()
        await self.pods.stop()
        await self.warnings.stop()

    async def create(self, spec: KernelPodSpec) -> LaunchedPod:
        """Make the kernel's Pod and Secret.

        Raises:
            KernelBusy: another host restarts the same kernel.
            TooManyKernels: there is no room for it within the limits; nothing is left behind.
            LaunchFailed: the API refused; nothing is left behind.
        """
        self.refuse_beyond_limits(spec)
        pod = LaunchedPod(self, spec.name)
        refusal = self._refusal_when_seen(spec)
        try:
            manifest = await self.api.create_pod(self.namespace, build_pod(spec))
            pod.seen(manifest)
            await self.api.create_secret(self.namespace, build_secret(spec, manifest))
            _raise_if_refused(await refusal)
            await self.api.patch_pod(
                self.namespace, spec.name, open_gate_patch(manifest), content_type=JSON_PATCH
            )
        except ClusterError as error:
            if error.api_reason == "AlreadyExists":  # another host's, for the same kernel
                pod.forget()
                raise KernelBusy("It is being restarted by somebody else; try again.") from error
            pod.discard_soon()
            failure = creation_failure(
                status=error.status, api_reason=error.api_reason, message=str(error)
            )
            raise LaunchFailed(failure.reason, failure.message) from error
        except BaseException:  # cancelled half-way: the pod may exist all the same
            pod.discard_soon()
            raise
        finally:
            refusal.cancel()
        return pod

    def refuse_beyond_limits(self, spec: KernelPodSpec) -> None:
        """Look whether there is room for one more kernel, as far as the watch knows.

        Raises:
            TooManyKernels: there is none.
        """
        _raise_if_refused(self._refusal(spec))

    def _refusal(self, spec: KernelPodSpec) -> str:
        return self.limits.refusal(
            self.pods.objects.values(),
            instance=self.instance,
            kernel_id=spec.kernel_id,
            username=spec.username,
        )

    def _refusal_when_seen(self, spec: KernelPodSpec) -> asyncio.Future[str]:
        """Why the kernel is one too many, or "": known when the watch tells of its pod."""
        refusal: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if not self.limits:
            refusal.set_result("")
            return refusal

        def on_change(_change: str, _pod: Object) -> None:
            if not refusal.done():
                refusal.set_result(self._refusal(spec))

        unsubscribe = self.pods.subscribe(on_change, name=spec.name)
        refusal.add_done_callback(lambda _: unsubscribe())
        return refusal

    def expect(self, name: str) -> LaunchedPod:
        """The handle of a pod that somebody else is about to create."""
        return LaunchedPod(self, name)

    def adopt(self, name: str) -> LaunchedPod:
        """The handle of a pod that another gateway launched and that the watch knows."""
        pod = LaunchedPod(self, name)
        pod.seen(self.pods.objects[name])
        return pod

    def kernel_ids(self) -> set[str]:
        """The ids of the kernels that have a pod."""
        return set(self._names)

    def of_kernel(self, kernel_id: str) -> list[PodState]:
        """The pods of one kernel, as far as the watch knows."""
        names = self._names.get(kernel_id, ())
        return [read_state(self.pods.objects[name]) for name in sorted(names)]

    def _file(self, change: str, pod: Object) -> None:
        """File a pod under its kernel: who asks for every kernel must not look at all pods each time."""
        kernel_id, name = kernel_id_of(pod, self.instance), pod["metadata"]["name"]
        if change != "DELETED" and kernel_id:
            self._names[kernel_id].add(name)
        elif names := self._names.get(kernel_id):
            names.discard(name)
            if not names:
                del self._names[kernel_id]

    async def find(self, kernel_id: str) -> None:
        """Ask the API itself for the pods of a kernel of which the watch may not have told yet.

        Raises:
            ClusterError: it did not answer.
        """
        if label := label_value(kernel_id):
            found, _ = await self._collection(**{KERNEL_ID_LABEL: label}).list()
            for pod in found:
                self.pods.learn(pod)

    async def record(self, name: str) -> KernelRecord | None:
        """Read what `LaunchedPod.remember` stored for the pod `name`; None if nothing is stored.

        Raises:
            ClusterError: there is no Secret, or the API did not answer.
            NewerRecord: a gateway of a later release stored it.
            ProtocolError: it is malformed.
        """
        stored = read_record(await self.api.read_secret(self.namespace, name))
        return None if stored is None else KernelRecord.from_json(stored)

    async def change_state(
        self, name: str, before: str, after: str, *, operator: str | None = None
    ) -> bool:
        """Write down what this process does with a pod; False if the pod was not as expected.

        Args:
            before: the state in which the pod has to be; any but RUNNING is that of an operator.
            operator: who made it so; None: this process.

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
            if error.status in (_NOT_FOUND, _UNPROCESSABLE):
                return False
            raise
        self.pods.learn(changed)
        return True

    def _operator_of(self, state: str) -> str:
        return "" if state == RUNNING else self.process

    async def annotate(self, name: str, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of a pod; None removes one.

        Raises:
            ClusterError: the API refused or did not answer.
        """
        patch = annotations_patch(annotations)
        self.pods.learn(await self.api.patch_pod(self.namespace, name, patch))

    async def end(self, name: str, *, grace_seconds: int) -> None:
        """Delete the pods of the kernel in the pod `name`, as something that was wanted; once.

        Raises:
            ClusterError: the API did not confirm.
        """
        pod = self.pods.objects.get(name)
        kernel_id = kernel_id_of(pod, self.instance) if pod else ""
        others = {other.name for other in self.of_kernel(kernel_id)} if kernel_id else set()
        for each in [name, *sorted(others - {name})]:
            try:
                await self.api.patch_pod(self.namespace, each, ending_patch(self.process))
            except ClusterError as error:
                if error.status == _NOT_FOUND:
                    continue
                raise
            await self.delete(each, grace_seconds=grace_seconds)

    def end_soon(self, name: str, *, grace_seconds: int) -> None:
        """Like `end`, in the background, again and again until the API confirms it."""
        self._removals.begin(f"end pod {name}", lambda: self.end(name, grace_seconds=grace_seconds))

    def remove_soon(self, name: str) -> None:
        """Delete one pod, which is nobody's kernel, in the same way."""
        self._removals.begin(f"remove pod {name}", lambda: self.delete(name, grace_seconds=0))

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


def _raise_if_refused(why: str) -> None:
    if why:
        raise TooManyKernels(why)
