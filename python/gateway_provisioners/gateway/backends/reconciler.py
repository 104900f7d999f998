"""Keeps the kernels that this gateway manages the same as the kernels that there are.

The truth is in the pods. This process learns of each change from the watch, looks at the pods of that
kernel and does what is missing: it takes over a kernel that another gateway started, follows one that
another gateway restarted, lets go of one that another gateway ended, and finishes what a gateway that
is gone left half done. What it finds done already it leaves alone, so that any number of gateways can
do this at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from gateway_provisioners.errors import ClusterError
from gateway_provisioners.gateway.backends.base import adopt, restore
from gateway_provisioners.gateway.failures import summarize
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.kube.gateways import Gateways
from gateway_provisioners.kube.pods import KernelPods
from gateway_provisioners.model.kernel_record import KernelRecord, NewerRecord
from gateway_provisioners.model.pod.kernel_state import (
    LAST_ACTIVITY_ANNOTATION,
    RESTARTING,
    RUNNING,
    PodState,
    annotation,
    decide,
    kernel_id_of,
    started,
)

_NOT_FOUND = 404
# Enough to keep the API server busy, and no more.
_AT_ONCE = 16
# How long a kernel that has no pod stays in the list of a gateway that is not the one to restart it.
_LOST_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Reconciler:
    """Does so from `start` to `stop`.

    Args:
        is_leader: whether this process is the one that restarts dead kernels.
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
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._due: set[str] = set()
        self._lost: dict[str, asyncio.TimerHandle] = {}
        self._newer: dict[str, str] = {}
        """By kernel, the pod that a gateway of a later release started, and that is left as it is."""
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._unsubscribe: list[Callable[[], None]] = []

    async def start(self) -> None:
        """Take over all kernels there are, and follow them from then on.

        Raises:
            ClusterError: the API server does not tell of one of them.
        """
        await asyncio.gather(*(self._reconcile(each) for each in self._pods.kernel_ids()))
        self._unsubscribe = [
            self._pods.pods.subscribe(self._on_pod),
            self._gateways.subscribe(self._on_gateway),
        ]
        for kernel_id in self._pods.kernel_ids():  # what has changed meanwhile
            self._look_at(kernel_id)

    async def stop(self) -> None:
        """Follow no longer."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        for timer in self._lost.values():
            timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def find(self, kernel_id: str) -> None:
        """Take over a kernel that another gateway started just now, if there is one of that id.

        Raises:
            ClusterError: the API server did not answer.
        """
        await self._pods.find(kernel_id)
        task = self._tasks.get(kernel_id)
        if task is not None:
            await asyncio.wait({task})

    def _on_pod(self, _change: str, pod: dict[str, Any]) -> None:
        if kernel_id := kernel_id_of(pod, self._pods.instance):
            self._look_at(kernel_id)

    def _on_gateway(self) -> None:
        for kernel_id in self._pods.kernel_ids():
            if any(pod.state != RUNNING for pod in self._pods.of_kernel(kernel_id)):
                self._look_at(kernel_id)

    def _look_at(self, kernel_id: str) -> None:
        self._due.add(kernel_id)
        if kernel_id not in self._tasks:
            task = asyncio.create_task(self._work_on(kernel_id), name=f"reconcile {kernel_id}")
            self._tasks[kernel_id] = task

    async def _work_on(self, kernel_id: str) -> None:
        pause = _FIRST_PAUSE_SECONDS
        try:
            while kernel_id in self._due:
                self._due.discard(kernel_id)
                try:
                    await self._reconcile(kernel_id)
                except ClusterError as error:
                    _log.warning("Kernel %s: %s; going on shortly", kernel_id, error)
                    self._due.add(kernel_id)
                    await asyncio.sleep(pause)  # no event tells that the API server is back
                    pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                except Exception:  # noqa: BLE001 - the next change of this kernel has to be looked at as well
                    _log.exception("Kernel %s cannot be followed", kernel_id)
        finally:
            del self._tasks[kernel_id]

    async def _reconcile(self, kernel_id: str) -> None:
        # Whatever this process is doing with the kernel, it knows better than the watch.
        await self._kernels.wait_for_operation(kernel_id)
        pods = self._pods.of_kernel(kernel_id)
        decision = decide(pods, is_alive=self._gateways.is_alive)
        for pod in decision.remove:
            _log.warning("Removing pod %s, which nobody needs: %s.", pod.name, pod.state)
            self._pods.remove_soon(pod.name)
        if decision.reinstate is not None:
            _log.warning("Pod %s: a restart was begun and never finished.", decision.reinstate.name)
            await self._pods.change_state(
                decision.reinstate.name, RESTARTING, RUNNING, operator=decision.reinstate.operator
            )
        if pods:
            self._found(kernel_id)
        else:
            self._newer.pop(kernel_id, None)
        serve = decision.serve
        is_dead = not pods or (serve is not None and serve.ended and serve.state == RUNNING)
        if is_dead and kernel_id in self._kernels and not self._is_leader():
            self._kernels.announce_death(kernel_id)
        if decision.serve is not None:
            async with self._room:
                await self._serve(kernel_id, decision.serve)
        elif kernel_id in self._kernels and (decision.ended or self._is_given_up(kernel_id, pods)):
            await self._kernels.release(kernel_id)

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
                await self._kernels.release(kernel_id)
        except Exception as error:  # noqa: BLE001 - one record must not keep the others' gateway away
            _log.error(
                "Kernel pod %s cannot be taken over and is left as it is: %s",
                pod.name,
                summarize(error),
            )

    async def _record(self, pod: str) -> KernelRecord | None:
        try:
            return await self._pods.record(pod)
        except ClusterError as error:
            if error.status != _NOT_FOUND:
                raise
            return None

    async def _adopt(self, pod: str, record: KernelRecord) -> None:
        known = self._pods.pods.objects.get(pod)
        await adopt(
            self._kernels,
            pod,
            record,
            last_activity=annotation(known, LAST_ACTIVITY_ANNOTATION) if known else "",
            started=started(known) if known else "",
        )

    def _is_given_up(self, kernel_id: str, pods: list[PodState]) -> bool:
        """Whether a kernel of ours has had no pod for so long that no gateway will make another one."""
        if pods or self._is_leader():
            return False  # it is being started anew, or that is for this process to do
        loop = asyncio.get_running_loop()
        timer = self._lost.get(kernel_id)
        if timer is None:
            self._lost[kernel_id] = loop.call_later(_LOST_SECONDS, self._look_at, kernel_id)
            return False
        return timer.when() <= loop.time()

    def _found(self, kernel_id: str) -> None:
        if timer := self._lost.pop(kernel_id, None):
            timer.cancel()
