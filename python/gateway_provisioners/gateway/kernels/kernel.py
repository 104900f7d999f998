"""One kernel of the gateway: its start, restarts and shutdown, which never overlap."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Protocol, cast

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from jupyter_events import EventLogger
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from traitlets import default
from zmq.eventloop.zmqstream import ZMQStream

from gateway_provisioners.errors import KernelGone
from gateway_provisioners.gateway.channels import stream
from gateway_provisioners.gateway.failures import can_pass, fail
from gateway_provisioners.gateway.kernels.announcements import Announcements
from gateway_provisioners.gateway.kernels.ends import end_words, log_words
from gateway_provisioners.gateway.kernels.peers import Peers
from gateway_provisioners.gateway.kernels.restart_failures import RestartFailures
from gateway_provisioners.gateway.kernels.restarter import GatewayKernelRestarter
from gateway_provisioners.gateway.process.limits import Limits
from gateway_provisioners.gateway.websocket.announcement import Announcement
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from gateway_provisioners.gateway.websocket.requests import Requests
from gateway_provisioners.model.failures import exited
from gateway_provisioners.model.launch_progress import LaunchProgress, Phase, Stage
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.usage import Usage
from gateway_provisioners.model.workload_details import WorkloadDetails
from gateway_provisioners.provisioners.contract import GatewayContract

# The time within which a kernel that is not busy answers.
_ANSWER_SECONDS = 0.5
# The states of a kernel that has not answered yet.
_UNCERTAIN = frozenset({"unknown", "starting"})
_RESTARTING = Stage(Phase.REQUESTED, "The kernel is being restarted.")
# More than one only in subshells.
_MOST_RUNNING = 8
# For kernels of provisioners without a contract, such as jupyter_client's own.
_NO_CONTRACT = GatewayContract()


class _Owner(Protocol):
    """The manager of all kernels, as its kernels see it."""

    event_logger: EventLogger
    limits: Limits
    peers: Peers

    def kernel_restarted(self, kernel_id: str) -> None: ...

    def kernel_restart_failed(self, kernel_id: str, error: Exception) -> None: ...


class GatewayKernel(ServerKernelManager):
    """A kernel manager whose shutdown and restarts do not overlap."""

    restarter_class = GatewayKernelRestarter

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._lifecycle = asyncio.Lock()
        self._gone = False
        self._restarted = asyncio.Event()
        self._end_announced = False
        self.execution_state = "unknown"
        self.ownership = Ownership()
        """Whose kernel it is; the manager changes it."""
        self.progress: LaunchProgress | None = None
        """The progress of its last start or restart by this gateway; None if another one started it."""
        self.restart_failures = RestartFailures(self.announce)
        self.why_ended = ""
        """Why it is being shut down, in sentences for its owner."""
        self.started = datetime.now(timezone.utc)
        """The time when it was first started; a restart does not change it."""
        self.running = Requests(_MOST_RUNNING)
        """The requests that it executes, as far as it has published them."""
        self.followed = asyncio.Event()
        """Set as soon as the gateway gets what it publishes, since its last start or restart."""
        self.announcements = Announcements(
            lambda: [each.notices for each in GatewayWebsocketConnection.of_kernel(self)],
            lambda: self._owner.peers.connections_elsewhere(self.kernel_id) > 0,
        )
        self._launch = uuid.uuid4().hex
        self._probe: ZMQStream | None = None
        self._probe_timeout: asyncio.TimerHandle

    @property
    def _owner(self) -> _Owner:
        return cast(_Owner, self.parent)

    @default("event_logger")
    def _event_logger_default(self) -> EventLogger:
        # Upstream makes one for every kernel, with a logger that stays forever.
        return self._owner.event_logger

    @property
    def _contract(self) -> GatewayContract:
        provisioner = self.provisioner
        return provisioner if isinstance(provisioner, GatewayContract) else _NO_CONTRACT

    @property
    def is_known_to_live(self) -> bool:
        """True if the kernel lives, as far as is known without asking."""
        return self._contract.is_known_to_live

    @property
    def is_restarted_here(self) -> bool:
        """True if this gateway, and no other, restarts the kernel when it dies."""
        return self._owner.peers.is_leader() and not self.is_moving

    @property
    def is_moving(self) -> bool:
        """True while another gateway is restarting or ending the kernel."""
        return self._contract.is_busy_elsewhere

    @property
    def holds_messages(self) -> bool:
        """True while messages for the kernel wait for its restart, by this gateway or another one."""
        return self._end_announced or self.is_moving

    @property
    def workload_name(self) -> str:
        """The name of the kernel's pod or container, as far as this gateway knows; "" if it has none."""
        return self._contract.workload_name

    @property
    def attempt(self) -> str:
        """The name of its present launch; another gateway knows it only if its provisioner does."""
        return self._contract.attempt or self._launch

    @property
    def end_cause(self) -> str:
        """The cause of its last end that no client asked for; "" if that is not known."""
        return self._contract.end_cause

    def announce(self, text: str, *, ends_cell: bool = False) -> None:
        """Show a sentence to the users of the kernel, in the cell that runs.

        It is shown in every connected client; if no cell runs, JupyterLab shows it in its log console. The
        next client to connect gets it if none is connected now.

        Args:
            ends_cell: whether the kernel will not go on with the cell. The sentence is its error then, and
                the client gets the reply that it waits for; otherwise it is a line of text in its output.
        """
        self.announcements.announce(Announcement(text, self.running.cell, ends_cell))

    async def announce_end(self, *, restarts: bool) -> bool:
        """Show to its users why the kernel ended; called before clients get the status that ends their cells.

        Args:
            restarts: whether it is restarted now, by this gateway or another one.

        Returns:
            whether this is the first time since the kernel's last start, and still to the point.
        """
        if self._end_announced:
            return False
        self._end_announced = True
        end = await self._contract.explain_end()
        if self._gone or self.shutting_down or not self._end_announced:
            return False
        cause = end.cause or await self._exit_words()
        text = end_words(cause, restarts=restarts, memory_advice=self._contract.memory_advice)
        self.announcements.announce(
            Announcement(text, self.running.cell, ends_cell=True, log=log_words(end.log))
        )
        self.running.clear()
        return True

    async def _exit_words(self) -> str:
        """Explain the end of a kernel whose provisioner does not."""
        code = await self.provisioner.poll() if self.provisioner is not None else None
        return "" if code is None else exited(code)

    @property
    def client_environment(self) -> Mapping[str, str]:
        """The variables with which its client asked for it, which its record has for other gateways."""
        environment: Mapping[str, str] = self._launch_args.get("env") or {}
        return environment

    @property
    def memory_advice(self) -> str:
        """A sentence on how its user can get more memory; "" if that is not known."""
        return self._contract.memory_advice

    @property
    def details(self) -> WorkloadDetails:
        """Its node, image and limits, as far as they are known."""
        return self._contract.details

    async def usage(self) -> Usage | None:
        """Return the memory and CPU time that it uses; None if that is not known."""
        return await self._contract.usage()

    @property
    def ports(self) -> list[Any]:
        """The ports, and the address that they belong to.

        jupyter_server compares this list to learn whether a restart moved the kernel, and a new pod may
        have the old ports at another address.
        """
        return [*super().ports, self.ip]

    def connect_iopub(self, identity: bytes | None = None) -> ZMQStream:
        """Return a stream of what the kernel publishes."""
        published = self._connect("iopub", identity)
        published.socket.subscribe(b"")
        return published

    def connect_shell(self, identity: bytes | None = None) -> ZMQStream:
        return self._connect("shell", identity)

    def connect_control(self, identity: bytes | None = None) -> ZMQStream:
        return self._connect("control", identity)

    def connect_stdin(self, identity: bytes | None = None) -> ZMQStream:
        return self._connect("stdin", identity)

    def connect_hb(self, identity: bytes | None = None) -> ZMQStream:
        return self._connect("hb", identity)

    def _connect(self, channel: str, identity: bytes | None) -> stream.KernelStream:
        return stream.KernelStream(self._create_connected_socket(channel, identity))

    def _create_connected_socket(
        self, channel: str, identity: bytes | None = None
    ) -> stream.KernelSocket:
        return stream.connect(self, channel, self._owner.limits, identity)

    async def restart_kernel(self, *args: Any, **kwargs: Any) -> None:
        """Restart the kernel; its connected clients are connected to the new one.

        Raises:
            KernelGone: it was shut down meanwhile.
            KernelBusy: another gateway is restarting or ending it.
        """
        async with self._lifecycle:
            if self._gone:
                raise KernelGone(f"Kernel {self.kernel_id} has been shut down.")
            self.progress = progress = LaunchProgress(time.monotonic)
            progress.enter(_RESTARTING)
            try:
                await self._contract.begin_restart()
                await super().restart_kernel(*args, **kwargs)
            except Exception as error:
                await self._contract.give_up_restart()
                self._owner.kernel_restart_failed(self.kernel_id, error)
                fail(progress, error)
                if can_pass(error):
                    self.start_restarter()  # also after a client's attempt
                raise
            self._launch = uuid.uuid4().hex
            self._end_announced = False
            self._restarted.set()
            self._owner.kernel_restarted(self.kernel_id)
            progress.succeed()

    async def shutdown_kernel(self, *args: Any, **kwargs: Any) -> None:
        """Shut down the kernel and remove its resources; may be called again if that failed."""
        async with self._lifecycle:
            await super().shutdown_kernel(*args, **kwargs)
            self._gone = True
            self._restarted.set()

    async def adopt(
        self,
        kernel_id: str,
        kernel_spec: KernelSpec,
        env: dict[str, str],
        restore: Callable[[KernelProvisionerBase], Awaitable[None]],
    ) -> None:
        """Become the manager of a kernel that is running already.

        jupyter_client has no such step: this is its start with `restore` in place of the launch.
        """
        self.kernel_id = kernel_id
        self._kernel_spec = kernel_spec
        self._attempted_start = True
        self._launch_args = {"env": env}
        self.provisioner = KernelProvisionerFactory.instance(
            parent=self.parent
        ).create_provisioner_instance(kernel_id, kernel_spec, parent=self)
        await restore(self.provisioner)
        # An earlier process in the same pod may have left a file with this content, and jupyter_client would
        # then not load it.
        with suppress(FileNotFoundError):
            os.remove(self.connection_file)  # noqa: PTH107 - as jupyter_client does, which holds a str
        self._reconcile_connection_info(self.provisioner.connection_info)
        self._ready = asyncio.get_running_loop().create_future()
        self._ready.set_result(None)
        await self._async_post_start_kernel()

    async def follow(
        self, replaces: str, restore: Callable[[KernelProvisionerBase], Awaitable[None]]
    ) -> None:
        """Connect to the kernel after another gateway restarted it.

        Args:
            replaces: the kernel's workload before that. Nothing happens if this gateway has replaced it, too.
            restore: gives the provisioner the record that the other gateway stored.
        """
        async with self._lifecycle:
            if self._gone or self.workload_name != replaces:
                return
            self.stop_restarter()
            self._close_control_socket()
            await restore(self.provisioner)
            self.progress = None
            self._reconcile_connection_info(self.provisioner.connection_info)
            self.forget_failure()
            await self._async_post_start_kernel()
            self._end_announced = False
            self._restarted.set()
            self._owner.kernel_restarted(self.kernel_id)

    async def release(self) -> None:
        """Stop managing the kernel, which goes on as it is."""
        async with self._lifecycle:
            self._gone = True
            self._restarted.set()
            self.stop_restarter()
            self._stop_probe()
            self._close_control_socket()
            self.cleanup_connection_file()
            await self._contract.release()

    async def wait_for_operation(self) -> None:
        """Return when this gateway is not restarting, following or ending the kernel."""
        async with self._lifecycle:
            pass

    async def wait_alive(self) -> None:
        """Return when the kernel is alive and its address is known, or when it is gone for good."""
        while True:
            await self.wait_for_operation()
            if self._gone or await self.is_alive():
                return
            self._restarted.clear()
            await self._restarted.wait()

    def probe_state(self) -> None:
        """Find out whether a kernel that another gateway started is busy: then it does not answer yet."""
        self._stop_probe()
        loop = asyncio.get_running_loop()
        self._probe = channel = self.connect_shell()

        def answered(_message: Any) -> None:
            self._stop_probe()
            if self.execution_state in {*_UNCERTAIN, "busy"}:
                self.execution_state = "idle"

        def still_silent() -> None:
            if self.execution_state in _UNCERTAIN:
                self.execution_state = "busy"

        channel.on_recv(answered)
        self.session.send(channel, "kernel_info_request")
        self._probe_timeout = loop.call_later(_ANSWER_SECONDS, still_silent)

    def _stop_probe(self) -> None:
        if self._probe is not None:
            self._probe.close()
            self._probe = None
            self._probe_timeout.cancel()

    async def _async_cleanup_resources(self, restart: bool = False) -> None:
        self._stop_probe()
        await super()._async_cleanup_resources(restart=restart)

    def forget_failure(self) -> None:
        """Allow another attempt after a shutdown or restart failed.

        jupyter_client would drop a kernel in this state without ending it.
        """
        if self.ready.done() and not self.ready.cancelled() and self.ready.exception():
            self._ready = asyncio.get_running_loop().create_future()
            self._ready.set_result(None)

    @property
    def outlives_process(self) -> bool:
        return self._contract.outlives_process
