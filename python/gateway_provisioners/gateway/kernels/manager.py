"""All kernels of the gateway."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from jupyter_events import EventLogger
from traitlets import default

from gateway_provisioners.errors import GatewayProvisionersError, TooManyKernels
from gateway_provisioners.gateway.failures import in_one_line, known_cause
from gateway_provisioners.gateway.kernels.culling import CullingKernelManager
from gateway_provisioners.gateway.kernels.peers import NoPeers, Peers
from gateway_provisioners.gateway.process.metrics import GatewayMetrics
from gateway_provisioners.gateway.process.open_files import most_zmq_sockets
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from gateway_provisioners.gateway.websocket.offline_buffer import OfflineBuffer
from gateway_provisioners.settings import from_env

# How soon a channel tries again to reach a kernel that does not listen yet: 0MQ's own 100 ms are a
# good part of a start.
_RECONNECT_MILLISECONDS = 20
# How long the last messages to kernels may take to leave.
_LINGER_MILLISECONDS = 200


class KernelIdTaken(GatewayProvisionersError):
    """A kernel of that id is being started or shut down."""

    reason = "KernelIdTaken"
    http_status = 409


class StartAbandoned(GatewayProvisionersError):
    """The gateway was told to stop before the kernel had started."""

    reason = "GatewayStopping"
    http_status = 503


class GatewayKernelManager(CullingKernelManager):
    """jupyter_server's manager, with limits and metrics, that follows kernels where they move."""

    offline_buffer_bytes = from_env(
        "GP_OFFLINE_BUFFER_BYTES",
        8 * 2**20,
        "How much output of a kernel without a mailbox is kept while its client is away.",
        unit="bytes",
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.event_logger = EventLogger(parent=self)
        self.metrics = GatewayMetrics(lambda: [k.kernel_name for k in self._kernels.values()])
        self.peers: Peers = NoPeers()
        self._starts: dict[str, asyncio.Task[str]] = {}
        self._farewells: set[asyncio.Task[None]] = set()

    @default("kernel_manager_class")
    def _kernel_manager_class_default(self) -> str:
        return "gateway_provisioners.gateway.kernels.kernel.GatewayKernel"

    @default("root_dir")
    def _root_dir_default(self) -> str:
        return os.getcwd()  # noqa: PTH109 - a trait of strings

    @default("context")
    def _context_default(self) -> zmq.asyncio.Context:
        self._created_context = True
        context = zmq.asyncio.Context()
        # Before its first socket, or not at all: 0MQ's 1023 are enough for some 170 kernels in use.
        context.set(zmq.MAX_SOCKETS, most_zmq_sockets())
        context.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MILLISECONDS)
        return context

    async def start_kernel(
        self,
        *,
        kernel_name: str | None = None,
        kernel_id: str | None = None,
        env: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> str:
        """Start a kernel, or find the one that has this id.

        Args:
            kernel_name: its kernelspec; None: the default one.
            kernel_id: the id that it shall have; None: a new one.
            env: its environment, to which nothing of the gateway's own is added.
            kwargs: jupyter_server's (`path`).

        Returns:
            the id.

        Raises:
            TooManyKernels, KernelIdTaken, StartAbandoned, NoSuchKernel: see there.
        """
        if kernel_id is not None and kernel_id in self:
            return kernel_id
        if kernel_id in self._starts or kernel_id in self._pending_kernels:
            raise KernelIdTaken(f"Kernel {kernel_id} is being started or shut down.")
        name = (kernel_name or self.default_kernel_name).lower()
        self.kernel_spec_manager.get_kernel_spec(name)
        self._refuse_beyond_limit()
        began = time.monotonic()
        self.metrics.start_requested(name)
        kernel_id = kernel_id or self.new_kernel_id()
        start = asyncio.create_task(
            super().start_kernel(kernel_name=name, kernel_id=kernel_id, env=env or {}, **kwargs)
        )
        self._starts[kernel_id] = start
        try:
            started: str = await start
        except asyncio.CancelledError:
            if not start.cancelled():
                raise
            abandoned = StartAbandoned("The gateway is shutting down; start the kernel again.")
            self.metrics.start_failed(name, abandoned)
            raise abandoned from None
        except Exception as error:
            self.metrics.start_failed(name, error)
            raise
        finally:
            del self._starts[kernel_id]
        self.metrics.start_succeeded(name, time.monotonic() - began)
        return started

    async def shutdown_kernel(
        self,
        kernel_id: str,
        now: bool = False,
        restart: bool = False,
    ) -> None:
        """End a kernel; one that is dead already without waiting for it, one that would not end again."""
        kernel = self.get_kernel(kernel_id)
        pending = self._pending_kernels.get(kernel_id)
        if pending is not None and pending.done():
            del self._pending_kernels[kernel_id]
        kernel.forget_failure()
        now = now or not await kernel.is_alive()
        await super().shutdown_kernel(kernel_id, now=now, restart=restart)

    async def restart_kernel(self, kernel_id: str, now: bool = False) -> asyncio.Future[Any]:
        """Restart a kernel on request; returns a future of its first answer."""
        kernel = self.get_kernel(kernel_id)
        self.metrics.restart_requested(kernel.kernel_name, died=False)
        kernel.forget_failure()
        answer: asyncio.Future[Any] = await super().restart_kernel(kernel_id, now=now)
        answer.add_done_callback(partial(self._restarted_kernel_answered, kernel_id))
        return answer

    def start_buffering(self, kernel_id: str, session_key: str, channels: dict[str, Any]) -> None:
        """Keep what a kernel says for a client that went away, up to a limit."""
        super().start_buffering(kernel_id, session_key, channels)
        if kernel_id in self._kernel_buffers:
            buffer = OfflineBuffer(self.offline_buffer_bytes)
            self._kernel_buffers[kernel_id]["buffer"] = buffer

    def kernel_restarted(self, kernel_id: str) -> None:
        """Follow a kernel to where it is after a restart; called by the kernel."""
        kernel = self.get_kernel(kernel_id)
        kernel.execution_state = "starting"
        kernel.reason = ""
        # What the old process said of itself; jupyter_server would take it for the new one's answer.
        vars(kernel).pop("_kernel_info_future", None)
        if self._get_changed_ports(kernel_id) is None:
            return
        self.stop_watching_activity(kernel_id)
        self.start_watching_activity(kernel_id)
        if kernel_id not in self._kernel_buffers:  # else its client does, when it comes back
            self.ports_changed(kernel_id)
            for connection in GatewayWebsocketConnection.of_kernel(kernel):
                connection.follow_kernel()

    def kernel_restart_failed(self, kernel_id: str, error: Exception) -> None:
        """Let lists of kernels tell that one is dead, and why; called by the kernel."""
        kernel = self.get_kernel(kernel_id)
        kernel.execution_state = "dead"
        cause = known_cause(error)
        kernel.reason = str(cause or "The kernel could not be restarted.")
        self.metrics.restart_failed(kernel.kernel_name, error)

    async def close_websockets(self, patience: float, seconds: float) -> None:
        """Send every client away, so that it connects again to whoever answers then.

        Args:
            patience: how many seconds to wait at most for a good moment.
            seconds: how long clients may then take to agree.
        """
        goodbyes = [
            asyncio.create_task(connection.say_goodbye(patience))
            for kernel in self._kernels.values()
            for connection in GatewayWebsocketConnection.of_kernel(kernel)
        ]
        if goodbyes:
            await asyncio.wait(goodbyes, timeout=patience + seconds)

    async def adopt(
        self,
        *,
        kernel_id: str,
        kernel_name: str,
        kernel_spec: KernelSpec,
        env: dict[str, str],
        last_activity: str,
        started: str,
        restore: Callable[[KernelProvisionerBase], Awaitable[None]],
    ) -> None:
        """Manage a kernel that another process started and that still runs.

        Args:
            kernel_spec: what it was started from, which may be gone from the kernelspecs.
            env: what the client had set; a restart needs it.
            last_activity: when it was last in use, in ISO 8601; "" if nobody knows.
            started: when it was started first, likewise.
            restore: gives a new provisioner what the other one knows.
        """
        kernel, _, _ = self.pre_start_kernel(kernel_name, {"kernel_id": kernel_id})
        await kernel.adopt(kernel_id, kernel_spec, env, restore)
        self._kernels[kernel_id] = kernel
        self._kernel_connections[kernel_id] = 0
        kernel.execution_state = "unknown"
        kernel.reason = ""
        await self._finish_kernel_start(kernel_id)
        if last_activity:
            kernel.last_activity = datetime.fromisoformat(last_activity)
        if started:
            kernel.started = datetime.fromisoformat(started)
        kernel.ask_whether_busy()
        self.initialize_culler()
        self.log.info("Kernel %s, which was running already, is taken over.", kernel_id)

    async def follow(
        self,
        kernel_id: str,
        *,
        replaces: str,
        restore: Callable[[KernelProvisionerBase], Awaitable[None]],
    ) -> None:
        """Go to where another gateway restarted a kernel; see `GatewayKernel.follow`."""
        kernel = self.get_kernel(kernel_id)
        await kernel.follow(replaces, restore)
        kernel.ask_whether_busy()

    def tell_of_death(self, kernel_id: str) -> None:
        """Tell clients, once, that their kernel died and that another gateway starts it anew."""
        kernel = self.get_kernel(kernel_id)
        if kernel.told_of_death_of != kernel.workload_name:
            kernel.told_of_death_of = kernel.workload_name
            for connection in GatewayWebsocketConnection.of_kernel(kernel):
                connection.on_kernel_restarted()

    async def forget(self, kernel_id: str) -> None:
        """Let go of a kernel that another gateway ended, and of those who are connected to it."""
        kernel = self.get_kernel(kernel_id)
        self.stop_watching_activity(kernel_id)
        self.stop_buffering(kernel_id)
        self.remove_kernel(kernel_id)
        for connection in GatewayWebsocketConnection.of_kernel(kernel):
            connection.tell_of_end()
        await kernel.let_go()
        self.log.info("Kernel %s was ended by another gateway.", kernel_id)

    async def wait_for_operation(self, kernel_id: str) -> None:
        """Return when this gateway is not starting, restarting or ending the kernel."""
        if start := self._starts.get(kernel_id):
            await asyncio.wait({start})
        if kernel_id in self:
            await self.get_kernel(kernel_id).wait_for_operation()

    def kernel_model(self, kernel_id: str) -> dict[str, Any]:
        """What clients are told of a kernel; those who are connected elsewhere count as well."""
        model: dict[str, Any] = super().kernel_model(kernel_id)
        model["connections"] += self.peers.connections_elsewhere(kernel_id)
        return model

    def notify_connect(self, kernel_id: str) -> None:
        """Count one more client of a kernel."""
        super().notify_connect(kernel_id)
        self._tell_of_connections(kernel_id)

    def notify_disconnect(self, kernel_id: str) -> None:
        """Count one client less."""
        super().notify_disconnect(kernel_id)
        self._tell_of_connections(kernel_id)

    async def finish_starts(self, seconds: float) -> None:
        """Wait for the starts that are under way; abandon those that take longer."""
        starts = set(self._starts.values())
        if not starts:
            return
        _, pending = await asyncio.wait(starts, timeout=seconds)
        for start in pending:
            start.cancel()
        if pending:
            await asyncio.wait(pending)

    async def let_go(self, *, shut_down_all: bool) -> None:
        """Leave the kernels that outlive this process alone; end the others, or all of them."""
        if self._culler_callback is not None:
            self._culler_callback.stop()
        ending = []
        for kernel_id, kernel in list(self._kernels.items()):
            if shut_down_all or not kernel.outlives_gateway:
                ending.append(self._end(kernel_id))
            else:
                kernel.stop_restarter()
                self.stop_watching_activity(kernel_id)
                self.stop_buffering(kernel_id)
        await asyncio.gather(*ending, *self._farewells)
        self.context.destroy(linger=_LINGER_MILLISECONDS)

    async def _end(self, kernel_id: str) -> None:
        try:
            await self.shutdown_kernel(kernel_id, now=True)
        except Exception as error:  # noqa: BLE001 - the next one has to be ended as well
            self.log.warning("Kernel %s could not be ended: %s", kernel_id, in_one_line(error))

    def _tell_of_connections(self, kernel_id: str) -> None:
        if kernel_id in self._kernel_connections:
            self.peers.tell_connections(kernel_id, self._kernel_connections[kernel_id])

    def _refuse_beyond_limit(self) -> None:
        most = self.parent.max_kernels
        if most is not None and len(self._kernels.keys() | self._starts.keys()) >= most:
            raise TooManyKernels(
                f"This gateway runs {most} kernels at most and has that many; shut one down first."
            )

    async def _finish_kernel_start(self, kernel_id: str) -> None:
        await super()._finish_kernel_start(kernel_id)
        kernel = self.get_kernel(kernel_id)
        self.add_restart_callback(
            kernel_id, partial(self.metrics.restart_requested, kernel.kernel_name, died=True)
        )

    async def _add_kernel_when_ready(
        self, kernel_id: str, km: KernelManager, kernel_awaitable: Awaitable[Any]
    ) -> None:
        # Upstream keeps a start that failed among the pending ones for ever.
        try:
            await kernel_awaitable
            self._kernels[kernel_id] = km
        except Exception as error:  # noqa: BLE001 - raised from km.ready by the caller
            self.log.debug("Start of kernel %s failed: %r", kernel_id, error)
        finally:
            self._pending_kernels.pop(kernel_id, None)

    def _handle_kernel_died(self, kernel_id: str) -> None:
        # Upstream forgets the kernel and leaves behind what its provisioner made.
        self.log.warning("Kernel %s died too often; it is shut down.", kernel_id)
        farewell = asyncio.create_task(self._end(kernel_id))
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)

    def _restarted_kernel_answered(self, kernel_id: str, answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled() and (error := answer.exception()):
            self.log.warning("Kernel %s gave no answer after its restart: %s", kernel_id, error)
