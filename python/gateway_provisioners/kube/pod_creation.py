"""The requests that make one kernel's Pod and Secret, repeated while the API's refusals pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

from gateway_provisioners.aio import Backoff, retry
from gateway_provisioners.errors import ClusterError, EngineError
from gateway_provisioners.kube.api import JSON_PATCH, KubeApi
from gateway_provisioners.model.launch_progress import LaunchProgress, Phase, Stage
from gateway_provisioners.model.objects import Object
from gateway_provisioners.model.pod.api_refusal import creation_failure, passes
from gateway_provisioners.model.pod.kernel_state import KERNEL_ID_LABEL, read_state
from gateway_provisioners.model.pod.manifest import KernelPodSpec, label_value, open_gate_patch

_BACKOFF = Backoff(0.2, 5, jitter=True)
# How often to open a pod's gate while others change its gates as well.
_GATE_TRIES = 5

T = TypeVar("T")


class PodCreation:
    """The creation of one pod; every method raises ClusterError when the API refuses for good.

    Args:
        timeout: seconds, from now, after which every refusal is final.
        progress: takes each refusal that may pass.
    """

    def __init__(
        self, api: KubeApi, spec: KernelPodSpec, *, timeout: float, progress: LaunchProgress
    ) -> None:
        self._api = api
        self._spec = spec
        self._progress = progress
        self._deadline = asyncio.get_running_loop().time() + timeout

    async def create_pod(self, manifest: Object) -> Object:
        """Create the Pod; returns it as stored."""
        return await self._create(
            lambda: self._api.create_pod(self._spec.namespace, manifest), self._find_own_pod
        )

    async def create_secret(self, manifest: Object) -> None:
        """Create the Secret."""

        async def find() -> Object | None:
            return manifest  # of a pod that is this launch's own

        await self._create(lambda: self._api.create_secret(self._spec.namespace, manifest), find)

    async def open_gate(self, pod: Object) -> None:
        """Let the scheduler see the Pod; gates of others, which they may be removing, are left to them."""
        newest: Object | None = pod

        async def attempt() -> None:
            nonlocal newest
            for tries_left in reversed(range(_GATE_TRIES)):
                if newest is None or not (patch := open_gate_patch(newest)):
                    return  # deleted, or opened by an attempt that was not answered
                try:
                    await self._api.patch_pod(
                        *(self._spec.namespace, self._spec.name, patch), content_type=JSON_PATCH
                    )
                except ClusterError as error:
                    # The test in the patch failed: another party has removed a gate.
                    if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or not tries_left:
                        raise
                    newest = await self._find_pod()
                else:
                    return

        await self._retry(attempt)

    async def _create(
        self,
        create: Callable[[], Awaitable[Object]],
        find: Callable[[], Awaitable[Object | None]],
    ) -> Object:
        """Create an object; one that an earlier attempt created, although it was not answered, counts."""
        is_repeated = False

        async def attempt() -> Object:
            nonlocal is_repeated
            try:
                return await create()
            except ClusterError as error:
                is_own = is_repeated and error.api_reason == "AlreadyExists"
                is_repeated = True
                if is_own and (found := await find()) is not None:
                    return found
                raise

        return await self._retry(attempt)

    async def _find_own_pod(self) -> Object | None:
        """Return the pod if this launch made it; that of another gateway has another operator."""
        pod = await self._find_pod()
        return pod if pod and read_state(pod).operator == self._spec.operator else None

    async def _find_pod(self) -> Object | None:
        kernel_id = label_value(self._spec.kernel_id)
        collection = self._api.collection(
            "Pod", self._spec.namespace, label_selector=f"{KERNEL_ID_LABEL}={kernel_id}"
        )
        pods, _ = await collection.list()
        return next((pod for pod in pods if pod["metadata"]["name"] == self._spec.name), None)

    async def _retry(self, attempt: Callable[[], Awaitable[T]]) -> T:
        return await retry(
            f"create pod {self._spec.name}", attempt, _BACKOFF, is_final=self._is_final
        )

    def _is_final(self, error: EngineError) -> bool:
        if asyncio.get_running_loop().time() >= self._deadline:
            return True
        api_reason = error.api_reason if isinstance(error, ClusterError) else ""
        if not passes(
            status=error.status,
            api_reason=api_reason,
            message=str(error),
            is_restart=self._spec.attempt > 1,
        ):
            return True
        refusal = creation_failure(status=error.status, api_reason=api_reason, message=str(error))
        self._progress.enter(Stage(Phase.REQUESTED, refusal.message, refusal.reason))
        return False
