"""The manager of all kernels of a gateway."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, cast

import zmq
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from jupyter_events import EventLogger
from jupyter_server._tz import utcnow
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets import default

from gateway_provisioners.errors import TooManyKernels
from gateway_provisioners.gateway.failures import can_pass, public_words, summarize
from gateway_provisioners.gateway.kernels.activity import ActivityWatch
from gateway_provisioners.gateway.kernels.culling import Culler
from gateway_provisioners.gateway.kernels.former_kernels import FormerKernels
from gateway_provisioners.gateway.kernels.kernel import GatewayKernel
from gateway_provisioners.gateway.kernels.kernelspecs import runs_beside_gateway
from gateway_provisioners.gateway.kernels.memory_watch import MemoryWatch
from gateway_provisioners.gateway.kernels.orphans import Orphans
from gateway_provisioners.gateway.kernels.peers import NoPeers, Peers
from gateway_provisioners.gateway.kernels.start_limits import StartLimits
from gateway_provisioners.gateway.kernels.starts import CANCELLED, KernelIdTaken, Starts
from gateway_provisioners.gateway.process.audit import Audit, AuditedKernel, acting_because
from gateway_provisioners.gateway.process.limits import Limits
from gateway_provisioners.gateway.process.metrics import GatewayMetrics
from gateway_provisioners.gateway.process.open_files import max_zmq_sockets
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from gateway_provisioners.gateway.websocket.offline_buffer import OfflineBuffer
from gateway_provisioners.model.launch_progress import LaunchProgress
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.recovery import read_time
from gateway_provisioners.model.request.launch_request import orphan_timeout
from gateway_provisioners.provisioners.launch_script import KernelspecPrograms
from gateway_provisioners.settings import from_env

# The pause before a channel tries again to reach a kernel that does not listen yet: 0MQ's own 100 ms
# are a good part of a start.
_RECONNECT_MILLISECONDS = 20
# How long the last messages to kernels may take to be sent.
_LINGER_MILLISECONDS = 200
# The beginning of the `reason` of a kernel that ended without a client's request.
_ENDED = "The kernel ended."
_SHUT_DOWN_ELSEWHERE = "The kernel was shut down through another gateway."
_SHUT_DOWN_BY_CLIENT = "A client shut the kernel down."
_RESTARTED = "The kernel ended and was restarted, without its variables."


class GatewayKernelManager(AsyncMappingKernelManager):
    """jupyter_server's manager, with limits, metrics and peers, for kernels that move when they restart."""

    offline_buffer_bytes = from_env(
        "GP_OFFLINE_BUFFER_BYTES",
        8 * 2**20,
        "The most output of a kernel without a mailbox that is kept for a client that is away.",
        unit="bytes",
    )
    cull_idle_timeout = from_env(
        "GP_CULL_IDLE_TIMEOUT",
        0,
        "How long a kernel may be idle before it is shut down; 0: forever. A kernelspec's "
        "`metadata.cull_idle_timeout` comes before it.",
        unit="seconds",
    )
    cull_interval = from_env(
        "GP_CULL_INTERVAL",
        300,
        "How often to look for kernels that are to be shut down.",
        unit="seconds",
        min=1,
    )
    cull_connected = from_env(
        "GP_CULL_CONNECTED",
        False,
        "Shut down idle kernels even while clients are connected to them.",
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.event_logger = EventLogger(parent=self)
        self.limits = Limits(parent=self)
        self.metrics = GatewayMetrics(
            lambda: [kernel.kernel_name for kernel in self._kernels.values()],
            lambda: [kernel.ownership.owner for kernel in self._kernels.values()],
        )
        self.audit = Audit()
        self.former = FormerKernels()
        self.peers: Peers = NoPeers()
        self._being_started: dict[str, GatewayKernel] = {}
        self.starts = Starts(StartLimits(parent=self), self.metrics)
        self._pending_shutdowns: set[asyncio.Task[None]] = set()
        self.culler = Culler(self, lambda: self.peers, self.metrics)
        self.orphans = Orphans(self, lambda: self.peers, self.metrics)
        self.memory_watch = MemoryWatch(self._busy_kernels_with_clients)

    @default("untracked_message_types")
    def _untracked_message_types_default(self) -> list[str]:
        # A kernel sends this greeting to each gateway that subscribes, so it is not activity.
        upstream = AsyncMappingKernelManager.untracked_message_types
        return [*upstream.default(), "iopub_welcome"]

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
        # Has an effect only before the first socket. 0MQ's 1023 are enough for some 170 kernels in use.
        context.set(zmq.MAX_SOCKETS, max_zmq_sockets())
        context.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MILLISECONDS)
        return context

    async def start_kernel(
        self,
        *,
        kernel_name: str | None = None,
        kernel_id: str | None = None,
        env: dict[str, str] | None = None,
        ownership: Ownership = Ownership(),  # noqa: B008 - frozen
        **kwargs: Any,
    ) -> str:
        """Start a kernel, or return the one that has this id already.

        Args:
            kernel_name: its kernelspec; None for the default one.
            kernel_id: its id; None for a new one.
            env: its environment, to which nothing of the gateway's own is added.
            ownership: whose kernel it will be.
            kwargs: jupyter_server's (`path`).

        Returns:
            the id.

        Raises:
            TooManyKernels, TooManyStarts, KernelIdTaken, GatewayStopping, NoSuchKernel, LaunchFailed: no
                kernel was started.
        """
        if kernel_id is not None and kernel_id in self:
            return kernel_id
        name = (kernel_name or self.default_kernel_name).lower()
        kernel_id = kernel_id or self.new_kernel_id()
        with self.audit.operation("start", AuditedKernel(kernel_id, name, ownership.owner)):
            return await self._start_kernel(name, kernel_id, env or {}, ownership, **kwargs)

    async def _start_kernel(
        self, name: str, kernel_id: str, env: dict[str, str], ownership: Ownership, **kwargs: Any
    ) -> str:
        if kernel_id in self.starts.ids or kernel_id in self._pending_kernels:
            raise KernelIdTaken(
                f"The kernel is being started or shut down; try again in a moment. Kernel {kernel_id}"
            )
        if runs_beside_gateway(self.kernel_spec_manager.get_kernel_spec(name)):
            programs = KernelspecPrograms(parent=self)
            programs.check(
                f"Kernel {name!r} would be a process beside the gateway (local-provisioner)"
            )
        orphan_timeout(env)  # also of kernels whose provisioner knows no client's variables
        self._refuse_beyond_limit()
        start = partial(
            self._start_or_leave_nothing,
            kernel_name=name,
            kernel_id=kernel_id,
            env=env,
            ownership=ownership,
            **kwargs,
        )
        return await self.starts.run(start, kernel_id, name, ownership)

    async def _start_or_leave_nothing(self, *, kernel_id: str, **kwargs: Any) -> str:
        try:
            started: str = await super().start_kernel(kernel_id=kernel_id, **kwargs)
        except asyncio.CancelledError:
            await self._remove_started(kernel_id)
            raise
        finally:
            self._being_started.pop(kernel_id, None)
        return started

    async def _remove_started(self, kernel_id: str) -> None:
        """Shut down a kernel that was launched just before its start was cancelled.

        A provisioner whose launch is cancelled leaves nothing behind. Once it has launched the kernel,
        jupyter_client does.
        """
        kernel = self._being_started.get(kernel_id)
        try:
            if kernel_id in self._kernels:
                await self.shutdown_kernel(kernel_id, now=True, why=CANCELLED)
            elif kernel is not None and kernel.has_kernel:
                await kernel.shutdown_kernel(now=True)
        except Exception as error:  # noqa: BLE001 - the start has ended either way
            self.log.warning("Kernel %s could not be shut down: %s", kernel_id, summarize(error))

    async def cancel_start(self, kernel_id: str) -> None:
        """Cancel the start of a kernel that this gateway is starting; nothing of it is left behind."""
        start = self.starts.get(kernel_id)
        if start is None:
            return
        audited = AuditedKernel(kernel_id, start.name, start.ownership.owner)
        with self.audit.operation("end", audited):
            await self.starts.cancel(kernel_id)
        if kernel_id in self:  # it was up already
            await self.shutdown_kernel(kernel_id, now=True)

    def cancel_start_soon(self, kernel_id: str) -> None:
        """Cancel a start if this gateway makes it; called when a client has reached another gateway."""
        if self.starts.get(kernel_id) is None:
            return

        async def cancel() -> None:
            try:
                with acting_because("OtherGateway"):
                    await self.cancel_start(kernel_id)
            except Exception as error:  # noqa: BLE001 - no request waits for it
                self.log.warning(
                    "The start of kernel %s was not cancelled: %s", kernel_id, summarize(error)
                )

        task = asyncio.create_task(cancel())
        self._pending_shutdowns.add(task)
        task.add_done_callback(self._pending_shutdowns.discard)

    def pre_start_kernel(
        self, kernel_name: str | None, kwargs: dict[str, Any]
    ) -> tuple[Any, str, str]:
        """Make the manager of one kernel; called by jupyter_client's start."""
        ownership: Ownership = kwargs.pop("ownership")
        progress: LaunchProgress | None = kwargs.pop("progress", None)
        kernel, name, kernel_id = super().pre_start_kernel(kernel_name, kwargs)
        kernel.ownership, kernel.progress = ownership, progress
        if progress is not None:
            self._being_started[kernel_id] = kernel
        return kernel, name, kernel_id

    def ownership_of(self, kernel_id: str) -> Ownership | None:
        """Return whose kernel it is, from the beginning of its start; None for an id without a kernel."""
        if kernel_id in self:
            ownership: Ownership = self.get_kernel(kernel_id).ownership
            return ownership
        start = self.starts.get(kernel_id)
        return None if start is None else start.ownership

    def progress_of(self, kernel_id: str) -> LaunchProgress | None:
        """Return the progress of the last start or restart of a kernel; None if this gateway made none."""
        if kernel_id in self:
            progress: LaunchProgress | None = self.get_kernel(kernel_id).progress
            return progress
        start = self.starts.get(kernel_id)
        return None if start is None else start.progress

    def audited(self, kernel_id: str) -> AuditedKernel:
        """Return what the audit log says about a kernel; of one that does not exist, its id."""
        if kernel_id not in self:
            return AuditedKernel(kernel_id)
        kernel = self.get_kernel(kernel_id)
        return AuditedKernel(kernel_id, kernel.kernel_name, kernel.ownership.owner)

    async def change_ownership(self, kernel_id: str, ownership: Ownership) -> None:
        """Change whose kernel it is, for all gateways.

        Raises:
            KernelBusy: the kernel is being restarted or ended.
            EngineError: it could not be stored; nothing is changed.
        """
        with self.audit.operation("share", self.audited(kernel_id), share=ownership.to_json()):
            await self.peers.store_ownership(kernel_id, ownership)
        if kernel_id in self:
            self.set_ownership(kernel_id, ownership)

    def set_ownership(self, kernel_id: str, ownership: Ownership) -> None:
        """Take over whose kernel it is; clients that may not use it any longer are disconnected."""
        kernel = self.get_kernel(kernel_id)
        if kernel.ownership != ownership:
            kernel.ownership = ownership
            for connection in GatewayWebsocketConnection.of_kernel(kernel):
                connection.access_changed()

    async def shutdown_kernel(
        self,
        kernel_id: str,
        now: bool = False,
        restart: bool = False,
        *,
        why: str = _SHUT_DOWN_BY_CLIENT,
    ) -> None:
        """Shut a kernel down: at once if it is dead, and again if an earlier attempt failed.

        If a client has asked for it, the kernel's other clients learn so, and all of them are disconnected.

        Args:
            why: sentences for its former owner.
        """
        kernel = self.get_kernel(kernel_id)
        kernel.why_ended = why
        pending = self._pending_kernels.get(kernel_id)
        if pending is not None and pending.done():
            del self._pending_kernels[kernel_id]
        now = now or not await kernel.is_alive()
        # Upstream fails while the kernel is being restarted.
        await kernel.wait_for_operation()
        kernel.forget_failure()
        clients = []
        if why == _SHUT_DOWN_BY_CLIENT and not restart:
            clients = GatewayWebsocketConnection.of_kernel(kernel)
        if clients:
            kernel.announce("A client is shutting the kernel down.", ends_cell=True)
        with self.audit.operation("end", self.audited(kernel_id)):
            await super().shutdown_kernel(kernel_id, now=now, restart=restart)
        for client in clients:
            client.report_end()

    def remove_kernel(self, kernel_id: str) -> KernelManager:
        """Remove a kernel, and remember whose it was; called at each end, and when a kernel is released."""
        kernel: Any = super().remove_kernel(kernel_id)
        if kernel is not None:
            self.former.remember(kernel_id, kernel.ownership, kernel.why_ended)
        return cast(KernelManager, kernel)

    async def interrupt_kernel(self, kernel_id: str) -> None:
        """Interrupt what a kernel does."""
        with self.audit.operation("interrupt", self.audited(kernel_id)):
            await super().interrupt_kernel(kernel_id)

    async def restart_kernel(self, kernel_id: str, now: bool = False) -> asyncio.Future[Any]:
        """Restart a kernel on request; returns a future of its first answer."""
        kernel = self.get_kernel(kernel_id)
        self.metrics.restart_requested(kernel.kernel_name, died=False)
        kernel.forget_failure()
        try:
            answer: asyncio.Future[Any] = await super().restart_kernel(kernel_id, now=now)
        except Exception as error:
            kernel.restart_failures.answered(error)
            raise
        answer.add_done_callback(partial(self._restarted_kernel_answered, kernel_id))
        return answer

    def start_watching_activity(self, kernel_id: str) -> None:
        """Follow what a kernel publishes.

        Upstream's callback fails at a message that is malformed, and then never runs again.
        """
        kernel = self.get_kernel(kernel_id)
        kernel.reason = ""
        kernel.last_activity = utcnow()
        kernel._activity_stream = kernel.connect_iopub()
        # Busy kernels are culled if they publish nothing, too, so all that they publish counts.
        subscriber = None if self.cull_busy else kernel._activity_stream.socket
        watch = ActivityWatch(kernel, self.track_message_type, self._now, subscriber)
        kernel._activity_stream.on_recv(watch.follow)
        kernel.followed = watch.followed
        if meter := getattr(kernel._activity_stream.socket, "meter", None):
            meter.on_cut = partial(self._activity_was_cut, kernel_id)

    def _activity_was_cut(self, kernel_id: str) -> None:
        """Ask a kernel for its state: the end of a cell may be lost with the connection."""
        kernel = self.get_kernel(kernel_id)
        kernel.running.clear()
        kernel.probe_state()

    def _now(self) -> datetime:
        """Return the time, which is also that of the last activity of any kernel."""
        now: datetime = utcnow()
        self.last_kernel_activity = now
        return now

    def start_buffering(self, kernel_id: str, session_key: str, channels: dict[str, Any]) -> None:
        """Keep the output of a kernel for a client that is away, up to a limit."""
        super().start_buffering(kernel_id, session_key, channels)
        if kernel_id in self._kernel_buffers:
            buffer = OfflineBuffer(self.offline_buffer_bytes)
            self._kernel_buffers[kernel_id]["buffer"] = buffer

    def kernel_restarted(self, kernel_id: str) -> None:
        """Connect to a kernel that was restarted; called by the kernel."""
        self.audit.record("restart", self.audited(kernel_id))
        kernel = self.get_kernel(kernel_id)
        kernel.execution_state = "starting"
        kernel.reason = ""
        kernel.running.clear()
        for connection in GatewayWebsocketConnection.of_kernel(kernel):
            connection.forget_requests()
        kernel.restart_failures.forget()
        # The old process's answer, which jupyter_server would take for the new one's.
        vars(kernel).pop("_kernel_info_future", None)
        # Also if it has kept its ports, as a local kernel does: 0MQ connects and subscribes again after a
        # pause, in which the kernel's first messages are lost.
        self.stop_watching_activity(kernel_id)
        self.start_watching_activity(kernel_id)
        if kernel_id in self._kernel_buffers:
            # The channels that are kept for a client are those of before: its next connection makes others.
            self._kernel_ports[kernel_id] = []
        elif (ports := self._get_changed_ports(kernel_id)) is not None:
            self._kernel_ports[kernel_id] = ports
        for connection in GatewayWebsocketConnection.of_kernel(kernel):
            connection.follow_kernel()

    def kernel_restart_failed(self, kernel_id: str, error: Exception) -> None:
        """Show in lists of kernels that one is dead, or is tried again, and why; called by the kernel."""
        kernel = self.get_kernel(kernel_id)
        # A kernel that is dead is culled.
        kernel.execution_state = "restarting" if can_pass(error) else "dead"
        cause = public_words(error, "The kernel could not be restarted.")
        kernel.reason = f"{kernel.end_cause} {cause}".lstrip()
        self.metrics.restart_failed(kernel.kernel_name, error)
        self.audit.record("restart", self.audited(kernel_id), error=error)

    async def close_websockets(self, quiet_timeout: float, close_timeout: float) -> None:
        """Close every websocket, so that clients connect again, to the next gateway.

        Args:
            quiet_timeout: the most seconds to wait until a client is quiet.
            close_timeout: the most seconds that clients may then take to close.
        """
        closing = [
            asyncio.create_task(
                connection.close_for_reconnect("the gateway is shutting down", quiet_timeout)
            )
            for kernel in self._kernels.values()
            for connection in GatewayWebsocketConnection.of_kernel(kernel)
        ]
        if closing:
            await asyncio.wait(closing, timeout=quiet_timeout + close_timeout)

    async def adopt(
        self,
        *,
        kernel_id: str,
        kernel_name: str,
        kernel_spec: KernelSpec,
        env: dict[str, str],
        last_activity: str,
        started: str,
        ownership: Ownership,
        restore: Callable[[KernelProvisionerBase], Awaitable[None]],
    ) -> None:
        """Manage a kernel that another process started and that still runs.

        Args:
            kernel_spec: its kernelspec, which may be gone from this gateway's kernelspecs.
            env: the client's variables; a restart needs them.
            last_activity, started: when it was last in use and first started, in ISO 8601; "" if unknown.
            ownership: whose kernel it is.
            restore: gives a new provisioner the record of the other one.
        """
        kernel_spec.resource_dir = self.kernel_spec_manager.folder_of(kernel_name)
        kernel, _, _ = self.pre_start_kernel(
            kernel_name, {"kernel_id": kernel_id, "ownership": ownership}
        )
        await kernel.adopt(kernel_id, kernel_spec, env, restore)
        self._kernels[kernel_id] = kernel
        self._kernel_connections[kernel_id] = 0
        kernel.execution_state = "unknown"
        kernel.reason = ""
        await self._finish_kernel_start(kernel_id)
        if (active_at := read_time(last_activity)) is not None:
            kernel.last_activity = active_at
        if (started_at := read_time(started)) is not None:
            kernel.started = started_at
        kernel.probe_state()
        self.initialize_culler()
        self.log.info("Kernel %s, which was already running, was taken over.", kernel_id)

    async def follow(
        self,
        kernel_id: str,
        *,
        replaces: str,
        restore: Callable[[KernelProvisionerBase], Awaitable[None]],
    ) -> None:
        """Connect to a kernel that another gateway restarted; see `GatewayKernel.follow`."""
        kernel = self.get_kernel(kernel_id)
        with acting_because("OtherGateway"):
            await kernel.follow(replaces, restore)
        kernel.probe_state()

    async def announce_death(self, kernel_id: str) -> None:
        """Inform clients, once, that their kernel died, why, and that another gateway restarts it."""
        kernel = self.get_kernel(kernel_id)
        if await kernel.announce_end(restarts=True):
            for connection in GatewayWebsocketConnection.of_kernel(kernel):
                connection.on_kernel_restarted()

    def connections_changed(self, kernel_id: str) -> None:
        """Forget what is kept for a kernel's next client: it may have connected to another gateway."""
        self.orphans.check(kernel_id)
        if kernel_id in self and self.peers.connections_elsewhere(kernel_id):
            self.get_kernel(kernel_id).announcements.forget()

    async def release(self, kernel_id: str, *, ended: bool) -> None:
        """Release a kernel, and disconnect its clients.

        Args:
            ended: whether another gateway shut it down. Otherwise clients connect again, to a gateway that
                serves it.
        """
        kernel = self.get_kernel(kernel_id)
        if ended:
            kernel.why_ended = self._announce_end_elsewhere(kernel_id, kernel)
            with acting_because("OtherGateway"):
                self.audit.record("end", self.audited(kernel_id))
        self.stop_watching_activity(kernel_id)
        self.stop_buffering(kernel_id)
        self.remove_kernel(kernel_id)
        for connection in GatewayWebsocketConnection.of_kernel(kernel):
            if ended:
                connection.report_end()
            else:
                connection.request_reconnect("another gateway serves the kernel")
        await kernel.release()
        if ended:
            self.log.info("Kernel %s was shut down by another gateway.", kernel_id)

    def _announce_end_elsewhere(self, kernel_id: str, kernel: Any) -> str:
        """Inform the clients of a kernel that another gateway ended; return why it did so."""
        why = self.culler.why_due(kernel_id) or self.orphans.why_due(kernel_id)
        words = f"{why} It was shut down." if why else _SHUT_DOWN_ELSEWHERE
        kernel.announce(words, ends_cell=True)
        return words

    async def wait_for_operation(self, kernel_id: str) -> None:
        """Return when this gateway is not starting, restarting or shutting down the kernel."""
        await self.starts.wait_for(kernel_id)
        if kernel_id in self:
            await self.get_kernel(kernel_id).wait_for_operation()

    def kernel_model(self, kernel_id: str) -> dict[str, Any]:
        """Return the kernel's model for clients; connections to other gateways count as well."""
        model: dict[str, Any] = super().kernel_model(kernel_id)
        model["connections"] += self.peers.connections_elsewhere(kernel_id)
        kernel = self.get_kernel(kernel_id)
        if kernel.end_cause and not kernel.reason:
            ended = _RESTARTED if kernel.is_known_to_live else _ENDED
            model["reason"] = f"{ended} {kernel.end_cause}"
        if owner := kernel.ownership.owner:
            model["owner"] = owner
        return model

    def notify_connect(self, kernel_id: str) -> None:
        super().notify_connect(kernel_id)
        self.orphans.check(kernel_id)
        self._announce_connections(kernel_id)

    def notify_disconnect(self, kernel_id: str) -> None:
        super().notify_disconnect(kernel_id)
        self.orphans.check(kernel_id)
        self._announce_connections(kernel_id)

    async def release_all(self, *, shut_down_all: bool) -> None:
        """Release the kernels that outlive this process, and shut down the others, or all of them."""
        self.culler.stop()
        self.orphans.stop()
        self.memory_watch.stop()
        shutdowns = []
        for kernel_id, kernel in list(self._kernels.items()):
            if shut_down_all or not kernel.outlives_process:
                shutdowns.append(
                    self._shut_down(
                        kernel_id,
                        "GatewayStopping",
                        why="The kernel was shut down with its gateway.",
                    )
                )
            else:
                kernel.stop_restarter()
                self.stop_watching_activity(kernel_id)
                self.stop_buffering(kernel_id)
        await asyncio.gather(*shutdowns, *self._pending_shutdowns)
        self.context.destroy(linger=_LINGER_MILLISECONDS)

    def initialize_culler(self) -> None:
        """Begin to cull, once; upstream does so only if all kernels have an idle timeout."""
        self.culler.start()
        self.memory_watch.start()
        self._initialized_culler = True

    def track_message_type(self, message_type: str | None) -> bool:
        """Return whether a message of this type counts as activity.

        Upstream counts every message without a parent, whose type is None here: greetings as well.
        """
        return message_type is not None and bool(super().track_message_type(message_type))

    async def _shut_down(self, kernel_id: str, reason: str, *, why: str) -> None:
        try:
            with acting_because(reason):
                await self.shutdown_kernel(kernel_id, now=True, why=why)
        except Exception as error:  # noqa: BLE001 - the next one has to be shut down as well
            self.log.warning("Kernel %s could not be shut down: %s", kernel_id, summarize(error))

    def _busy_kernels_with_clients(self) -> list[GatewayKernel]:
        """Return the kernels that are busy, and have clients that are connected to this gateway."""
        in_use = (key for key, count in self._kernel_connections.items() if count and key in self)
        kernels = map(self.get_kernel, in_use)
        return [kernel for kernel in kernels if kernel.execution_state == "busy"]

    def _announce_connections(self, kernel_id: str) -> None:
        if kernel_id in self._kernel_connections:
            self.peers.announce_connections(kernel_id, self._kernel_connections[kernel_id])

    def _refuse_beyond_limit(self) -> None:
        limit = self.parent.max_kernels
        if limit is not None and len(self._kernels.keys() | self.starts.ids) >= limit:
            raise TooManyKernels.at_limit(limit)

    async def _finish_kernel_start(self, kernel_id: str) -> None:
        await super()._finish_kernel_start(kernel_id)
        kernel = self.get_kernel(kernel_id)
        self.add_restart_callback(
            kernel_id, partial(self.metrics.restart_requested, kernel.kernel_name, died=True)
        )
        self.orphans.check(kernel_id)

    async def _add_kernel_when_ready(
        self, kernel_id: str, km: KernelManager, kernel_awaitable: Awaitable[Any]
    ) -> None:
        # Upstream keeps a start that failed among the pending ones forever.
        try:
            await kernel_awaitable
            self._kernels[kernel_id] = km
        except Exception as error:  # noqa: BLE001 - raised from km.ready by the caller
            self.log.debug("Start of kernel %s failed: %r", kernel_id, error)
        finally:
            self._pending_kernels.pop(kernel_id, None)

    def _handle_kernel_died(self, kernel_id: str) -> None:
        # Upstream drops the kernel and leaves behind what its provisioner made.
        self.log.warning("Kernel %s died too often and is shut down.", kernel_id)
        kernel = self.get_kernel(kernel_id)
        cause = f"{kernel.end_cause} {kernel.restart_failures.cause}".strip()
        why = f"The kernel died too often and was shut down. {cause}".rstrip()
        if kernel.restart_failures.cause:  # else the words of its last end say so
            kernel.announce(why, ends_cell=True)
        shutdown = asyncio.create_task(self._shut_down(kernel_id, "Died", why=why))
        self._pending_shutdowns.add(shutdown)
        shutdown.add_done_callback(self._pending_shutdowns.discard)

    def _restarted_kernel_answered(self, kernel_id: str, answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled() and (error := answer.exception()):
            self.log.warning("Kernel %s did not answer after its restart: %s", kernel_id, error)
