"""Keeps the kernels that this gateway manages in step with the kernel pods of the release.

The truth is in the pods. The watch reports each change; this process then looks at all pods of that
kernel and does what is missing: it takes over a kernel that another gateway started, follows one that
another gateway restarted, releases one that another gateway ended, and finishes the work of a gateway
that died half-way. It leaves alone what is done already, so any number of gateways can do this at the
same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from gateway_provisioners.aio import Backoff, KeyedWorker
from gateway_provisioners.errors import ClusterError
from gateway_provisioners.gateway.backends.base import adopt, restore
from gateway_provisioners.gateway.failures import summarize
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.kube.gateways import Gateways
from gateway_provisioners.kube.pods import KernelPods
from gateway_provisioners.model.kernel_record import KernelRecord, NewerRecord
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.pod.kernel_state import (
    ENDING,
    LAST_ACTIVITY_ANNOTATION,
    RESTARTING,
    RUNNING,
    PodState,
    annotation,
    decide,
    kernel_id_of,
    read_state,
    started,
)

# Kernels taken over at the same time: enough to keep the API server busy.
_MAX_CONCURRENT = 16
# How long a gateway that is not the leader keeps a kernel without a pod.
_LOST_SECONDS = 60.0
_BACKOFF = Backoff(1, 30)

_log = logging.getLogger(__name__)


class Reconciler:
    """Reconciles the kernels from `start` to `stop`.

    Args:
        is_leader: returns whether this process restarts dead kernels.
    """

    def __init__(
        self,
        kernels: GatewayKernelManager,
        pods: KernelPods,
        gateways: Gateways,
        is_leader: Callable[[], bool],
    ) -> None:
        self._kernels = kernels
        self._pods = pods
        self._gateways = gateways
        self._is_leader = is_leader
        self._worker = KeyedWorker("reconcile kernel", self._reconcile, _BACKOFF)
        self._lost: dict[str, asyncio.TimerHandle] = {}
        """By kernel without a pod, when to give it up."""
        self._newer: dict[str, str] = {}
        """By kernel, the pod that a gateway of a later release started, and that is left as it is."""
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._unsubscribe: list[Callable[[], None]] = []

    async def start(self) -> None:
        """Take over all kernels that exist, and follow them from then on.

        Raises:
            ClusterError: the API server does not answer about one of them.
        """
        await asyncio.gather(*(self._reconcile(each) for each in self._pods.kernel_ids()))
        self._unsubscribe = [
            self._pods.cache.subscribe(self._on_pod),
            self._gateways.subscribe(self._on_gateway),
        ]
        for kernel_id in self._pods.kernel_ids():  # what has changed meanwhile
            self._worker.add(kernel_id)

    async def stop(self) -> None:
        """Stop following; kernels stay as they are."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        for timer in self._lost.values():
            timer.cancel()
        await self._worker.finish()

    async def find(self, kernel_id: str) -> None:
        """Take over a kernel that another gateway has just started, if there is one with that id.

        Raises:
            ClusterError: the API server did not answer.
        """
        starting = self._is_starting(kernel_id)
        await self._pods.find(kernel_id)
        if self._is_starting(kernel_id) and not starting:
            return  # by this gateway, since the client asked: its pod is seen, and lasts as long as its start
        await self._worker.wait(kernel_id)

    def _is_starting(self, kernel_id: str) -> bool:
        return kernel_id not in self._kernels and self._kernels.ownership_of(kernel_id) is not None

    def _on_pod(self, _change: str, pod: dict[str, Any]) -> None:
        if kernel_id := kernel_id_of(pod, self._pods.instance):
            # At once: a restart in this process, for which the worker waits, takes it over to the next pod.
            self._follow_ownership(kernel_id, pod)
            self._follow_cancellation(kernel_id, pod)
            self._kernels.connections_changed(kernel_id)
            self._worker.add(kernel_id)

    def _follow_ownership(self, kernel_id: str, pod: dict[str, Any]) -> None:
        """Take over whose kernel it is, which another gateway may have changed."""
        if kernel_id not in self._kernels:
            return
        ownership = Ownership.from_annotations(pod["metadata"].get("annotations") or {})
        followed = self._kernels.get_kernel(kernel_id).workload_name
        if ownership is not None and pod["metadata"]["name"] == followed:
            self._kernels.set_ownership(kernel_id, ownership)

    def _follow_cancellation(self, kernel_id: str, pod: dict[str, Any]) -> None:
        """Cancel a start by this gateway if the client has reached another one to shut the kernel down."""
        state = read_state(pod)
        if state.state == ENDING and state.operator != self._pods.process:
            self._kernels.cancel_start_soon(kernel_id)

    def _on_gateway(self) -> None:
        for kernel_id in self._pods.kernel_ids():
            if any(pod.state != RUNNING for pod in self._pods.of_kernel(kernel_id)):
                self._worker.add(kernel_id)

    async def _reconcile(self, kernel_id: str) -> None:
        # Until this process has finished its own operation on the kernel, the watch lags behind it.
        await self._kernels.wait_for_operation(kernel_id)
        pods = self._pods.of_kernel(kernel_id)
        decision = decide(pods, is_alive=self._gateways.is_alive)
        for pod in decision.remove:
            _log.warning("Removing orphaned pod %s: %s.", pod.name, pod.state)
            self._pods.remove_soon(pod.name)
        if (unfinished := decision.reinstate) is not None:
            _log.warning("Pod %s: taking back a restart that was never finished.", unfinished.name)
            await self._pods.change_state(
                unfinished.name, RESTARTING, RUNNING, operator=unfinished.operator
            )
        if pods:
            if timer := self._lost.pop(kernel_id, None):
                timer.cancel()
        else:
            self._newer.pop(kernel_id, None)
        serve = decision.serve
        is_dead = not pods or (serve is not None and serve.ended and serve.state == RUNNING)
        if is_dead and kernel_id in self._kernels and not self._is_leader():
            await self._kernels.announce_death(kernel_id)
        if serve is not None:
            async with self._slots:
                await self._serve(kernel_id, serve)
            if (served := self._pods.cache.objects.get(serve.name)) is not None:
                self._follow_ownership(kernel_id, served)
        elif kernel_id in self._kernels and (decision.ended or self._is_given_up(kernel_id, pods)):
            await self._kernels.release(kernel_id, ended=True)

    async def _serve(self, kernel_id: str, pod: PodState) -> None:
        managed = kernel_id in self._kernels
        followed = self._kernels.get_kernel(kernel_id).workload_name if managed else ""
        if pod.name in (followed, self._newer.get(kernel_id)):
            return
        try:
            record = await self._record(pod.name)
            if record is None:
                if not managed:
                    _log.warning("Pod %s has no record of its kernel; it is removed.", pod.name)
                    self._pods.remove_soon(pod.name)
            elif managed:
                await self._kernels.follow(
                    kernel_id, replaces=followed, restore=restore(pod.name, record)
                )
            else:
                await self._adopt(pod.name, record)
        except ClusterError:
            raise
        except NewerRecord as error:
            self._newer[kernel_id] = pod.name
            _log.warning("Kernel %s in pod %s is left as it is: %s", kernel_id, pod.name, error)
            if managed:  # a gateway of that release has restarted it
                await self._kernels.release(kernel_id, ended=False)
        except Exception as error:  # noqa: BLE001 - the others have to be taken over as well
            _log.error(
                "Kernel %s in pod %s cannot be taken over and is left as it is: %s",
                kernel_id,
                pod.name,
                summarize(error),
            )

    async def _record(self, pod: str) -> KernelRecord | None:
        try:
            return await self._pods.record(pod)
        except ClusterError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    async def _adopt(self, pod: str, record: KernelRecord) -> None:
        known = self._pods.cache.objects.get(pod)
        await adopt(
            self._kernels,
            pod,
            record,
            last_activity=annotation(known, LAST_ACTIVITY_ANNOTATION) if known else "",
            started=started(known) if known else "",
            ownership=Ownership.from_annotations(known["metadata"].get("annotations") or {})
            if known
            else None,
        )

    def _is_given_up(self, kernel_id: str, pods: list[PodState]) -> bool:
        """Return whether a managed kernel has had no pod for so long that no gateway will restart it."""
        if pods or self._is_leader():
            return False  # it is being restarted, or this process has to restart it
        loop = asyncio.get_running_loop()
        timer = self._lost.get(kernel_id)
        if timer is None:
            self._lost[kernel_id] = loop.call_later(_LOST_SECONDS, self._worker.add, kernel_id)
            return False
        return timer.when() <= loop.time()
