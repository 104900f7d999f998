"""A kernel's life on any engine: jupyter_client's contract, in terms of a `Workload`."""

from __future__ import annotations

import asyncio
import logging
import signal
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from gateway_provisioners.aio import within
from gateway_provisioners.errors import (
    CommandFailed,
    ConfigurationError,
    GatewayProvisionersError,
    LaunchFailed,
)
from gateway_provisioners.handshake import payload
from gateway_provisioners.handshake.command_client import CommandEndpoint, send_signal
from gateway_provisioners.handshake.response_server import ResponseServer
from gateway_provisioners.message_limits import MessageLimits
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.failures import GRACE_SECONDS
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.launcher_environment import LAUNCH_KEY_VARIABLE
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.request.launch_request import LaunchRequest, parse_launch_request
from gateway_provisioners.provisioners.authorization import check_user
from gateway_provisioners.provisioners.client_environment import client_environment
from gateway_provisioners.provisioners.contract import GatewayContract
from gateway_provisioners.provisioners.engine_services import EngineServices
from gateway_provisioners.provisioners.http_errors import as_http_errors
from gateway_provisioners.provisioners.kernel_environment import kernel_environment
from gateway_provisioners.provisioners.launch_outcome import (
    confirm_address,
    first_of_report_or_failure,
)
from gateway_provisioners.provisioners.launch_traits import LaunchTraits
from gateway_provisioners.provisioners.mailbox import MailboxEndpoint
from gateway_provisioners.provisioners.report_checks import (
    check_encryption,
    check_family,
    check_ports,
    check_protocol,
)
from gateway_provisioners.provisioners.workload import Launch, Workload

# How long a restart waits for the workload that it replaces.
_GONE_SECONDS = 60.0


class RemoteProvisioner(LaunchTraits, GatewayContract, KernelProvisionerBase):  # type: ignore[metaclass]
    """Starts, watches, commands and ends one kernel that runs in a workload of its own.

    jupyter_client makes one instance for each kernel and keeps it over restarts; each restart makes a new
    workload, with a name, keys and ports of its own. A back end implements the abstract members:
    docs/write-a-back-end.md.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._acquired: EngineServices | None = None
        self._workload: Workload | None = None
        # The workload of the attempt before this one, from its stop until it is replaced.
        self._predecessor: Workload | None = None
        self._restarting = False
        self._environment: dict[str, str] = {}
        self._request: LaunchRequest | None = None
        self._connection: ConnectionInfo | None = None
        self._launch_key: str | None = None
        self._attempt = 0
        # The last end that no client asked for, and the workload of the one that the log has.
        self._end_cause = ""
        self._logged_end_of = ""
        self._confirmation: asyncio.Task[None] | None = None

    # The members that a back end implements.

    @property
    @abstractmethod
    def services(self) -> EngineServices:
        """The engine's services in this process: `EngineServices.of_running_loop(self.parent)`.

        `launch_kernel` and `adopt` acquire them; `cleanup` and `release` release them.
        """

    @abstractmethod
    def admin_settings(self) -> Mapping[str, str]:
        """Return the value of each KERNEL_* setting that a client may repeat, but not change.

        Called by `pre_launch`, perhaps before the services are acquired.
        """

    @abstractmethod
    async def create_workload(self, launch: Launch) -> Workload:
        """Make the workload of a start or restart.

        Called by `launch_kernel`, once the response server expects the launcher's report. It may be
        cancelled. Whether it raises or is cancelled, it leaves nothing behind.

        Raises:
            LaunchFailed: the engine refused.
        """

    @abstractmethod
    async def adopt_workload(self, name: str) -> Workload:
        """Return the workload of that name, which another process made.

        Called by `adopt`; never where `EngineServices.outlives_process` is False.

        Raises:
            GatewayProvisionersError: it does not exist.
        """

    # jupyter_client's contract, and `GatewayContract`.

    @property
    def mailbox(self) -> MailboxEndpoint | None:
        if self._connection is None:
            return None
        return MailboxEndpoint.of(
            self._connection, secret=self._launch_key, kernel_id=self.kernel_id
        )

    @property
    def has_process(self) -> bool:
        return self._workload is not None

    @property
    def is_known_to_live(self) -> bool:
        return self._workload is not None and self._workload.exit_code() is None

    @property
    def is_busy_elsewhere(self) -> bool:
        return self._workload is not None and self._workload.is_busy_elsewhere

    @property
    def workload_name(self) -> str:
        return self._workload.name if self._workload else ""

    @property
    def end_cause(self) -> str:
        return self._known_end_cause() or self._end_cause

    def _known_end_cause(self) -> str:
        if self._workload is None or self._workload.exit_code() is None:
            return ""
        return self._workload.end_cause() or ""

    @property
    def ownership(self) -> Ownership:
        """The kernel's owner, as far as its manager knows; plain jupyter_server's does not."""
        ownership: Ownership = getattr(self.parent, "ownership", Ownership())
        return ownership

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Check the configuration and the client's request, before anything is made.

        Called by `KernelManager` at a start and at each restart.

        Raises:
            tornado.web.HTTPError: the message says what is wrong.
        """
        self._environment = client_environment(kwargs.pop("env", None))
        with as_http_errors():
            self._check_configuration()
            self._request = parse_launch_request(
                self._environment,
                admin_settings=self.admin_settings(),
                policy=self.client_policy,
                kernel_limits=self.resources.get("limits") or {},
            )
            check_user(
                self._request.username,
                self.ownership.groups,
                kernel_name=self._kernel_name,
                authorized=self.authorized_users,
                authorized_groups=self.authorized_groups,
                unauthorized=self.unauthorized_users,
            )
        kwargs["env"] = {}  # jupyter_client expects one; the kernel's is made in `launch_kernel`
        kwargs.setdefault("cmd", self.kernel_spec.argv)
        return kwargs

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ARG002
        """Start the kernel and wait for its connection info or its failure, whichever comes first.

        Called by `KernelManager` after `pre_launch`.

        Raises:
            tornado.web.HTTPError: it cannot start; the message says why.
        """
        assert self._request is not None  # noqa: S101 - pre_launch comes first by contract
        self._attempt += 1
        with as_http_errors():
            try:
                connection = await self._launch_workload(self._request)
            except BaseException as error:
                await self._abandon_launch()
                if isinstance(error, LaunchFailed):
                    error.kernel = f"{self._kernel_name!r} ({self.kernel_id})"
                raise
        self._forget_keys_of_earlier_attempt()
        if isinstance(self.parent, KernelManager):
            # Its channels can then be connected to an IPv6 address; 0MQ's default is IPv4.
            self.parent.context.ipv6 = True
        self.connection_info = cast(KernelConnectionInfo, connection.to_jupyter())
        return self.connection_info

    async def _launch_workload(self, request: LaunchRequest) -> ConnectionInfo:
        response_server = await self._acquire_services()
        self._launch_key = payload.new_launch_key()
        with response_server.expect(self.kernel_id, self._launch_key) as expectation:
            address = await self.services.response_address(expectation)
            launch = self._build_launch(request, address, response_server.public_key)
            began = asyncio.get_running_loop().time()
            self._workload = await self.create_workload(launch)
            report = await first_of_report_or_failure(
                self._workload,
                expectation,
                began=began,
                timeout=launch.timeout,
                wait_timeout=launch.wait_timeout,
                unschedulable_grace=self.services.unschedulable_grace,
            )
        self._connection = report.connection_info
        self._launch_key = report.secret or self._launch_key
        check_protocol(self._connection, oldest=self.oldest_protocol, image=self.image_name)
        check_encryption(
            self._connection,
            required=self.transport_encryption == "required",
            image=self.image_name,
        )
        check_ports(self._connection, self.port_range)
        await check_family(self._connection, image=self.image_name)
        self._confirmation = asyncio.create_task(
            confirm_address(self._workload, self.kernel_id, self._connection.ip)
        )
        await self._workload.remember(self._record())
        await self._replace_predecessor()
        return self._connection

    async def poll(self) -> int | None:
        """Return the kernel's exit code, or None while it lives, without asking the engine."""
        if self._workload is None:
            return 0
        code = self._workload.exit_code()
        if code is not None:
            self._note_end(self._workload)
        return code

    def _note_end(self, workload: Workload) -> None:
        """Keep, and log once, why the kernel ended, which an engine may report after its exit code."""
        cause = workload.end_cause()
        if cause and workload.name != self._logged_end_of:
            self._logged_end_of = workload.name
            self._end_cause = cause
            self.log.warning("Kernel %s in %s has ended. %s", self.kernel_id, workload.name, cause)

    async def wait(self) -> int | None:
        # Called once the kernel is known to have ended; `cleanup` waits for the workload's end.
        return await self.poll()

    async def send_signal(self, signum: int) -> None:
        """Pass a signal on to the kernel's process group, through the launcher.

        Raises:
            tornado.web.HTTPError: the launcher could not be reached.
        """
        if signum == 0 or self._workload is None or self._connection is None:
            return
        if signum == signal.SIGKILL:
            await self.kill()
            return
        shutting_down = bool(getattr(self.parent, "shutting_down", False))
        if shutting_down and self._workload.exit_code() is not None:
            return
        endpoint = CommandEndpoint(
            ip=self._connection.ip,
            port=self._connection.comm_port,
            kernel_id=self.kernel_id,
            launch_key=self._launch_key if self._connection.protocol > 1 else None,
        )
        try:
            await send_signal(endpoint, signum)
        except GatewayProvisionersError as error:
            level = logging.INFO if shutting_down else logging.WARNING
            self.log.log(
                level, "Kernel %s did not take signal %s: %s", self.kernel_id, signum, error
            )
            if not shutting_down:
                with as_http_errors():
                    # The same for every cause: else a kernel's reports could use interrupts to find out what
                    # answers at which port.
                    raise CommandFailed(
                        "The kernel did not take the signal. Try again, or restart it; the gateway's log has "
                        "the cause."
                    ) from None

    async def shutdown_requested(self, restart: bool = False) -> None:  # noqa: ARG002
        # The kernel has received its shutdown message. It can still clean up within the grace time, and
        # the user need not wait for the engine to notice its end.
        await self.terminate()

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002
        if self._workload is not None:
            await self._end(self._workload, GRACE_SECONDS)

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002
        if self._workload is not None:
            await self._end(self._workload, 0)

    async def begin_restart(self) -> None:
        if self.is_known_to_live:
            self._end_cause = ""
        if self.outlives_process and self._workload is not None:
            await self._workload.begin_restart()
            self._restarting = True

    async def give_up_restart(self) -> None:
        if not self._restarting:
            return
        self._restarting = False
        # Even a dead predecessor stores what the next attempt needs.
        self._workload, self._predecessor = self._predecessor or self._workload, None
        if self._workload is not None:
            await self._workload.give_up_restart()

    async def cleanup(self, restart: bool = False) -> None:
        """Remove what is left of the workload; before a restart, wait until it is gone.

        Called by `KernelManager` after each shutdown; only here is `restart` reliable. A restart that did not
        wait would need the same resources twice, and fail on a quota for one kernel.
        """
        workload = self._take_workload()
        if workload is None:
            return
        if workload.exit_code() is None:
            await self._end(workload, GRACE_SECONDS)
        if restart:
            await self._wait_gone(workload)
            self._note_end(workload)
        if self._restarting:
            self._predecessor = workload
        else:
            workload.release()
        if not restart:
            await self._release_services()

    async def adopt(self, name: str, record: KernelRecord) -> None:
        await self._acquire_services()
        self._load(record)
        self._end_cause = self._known_end_cause()  # another gateway has restarted it
        if self._workload is not None:
            self._workload.release()
        self._workload = await self.adopt_workload(name)
        self._forget_keys_of_earlier_attempt()

    async def release(self) -> None:
        workload = self._take_workload()
        if workload is not None:
            workload.release()
            await self._release_services()

    async def get_provisioner_info(self) -> dict[str, Any]:
        info = await super().get_provisioner_info()
        info.update(self._record().to_json())
        return info

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        """Take over the keys and addresses that `get_provisioner_info` returned in another process.

        Raises:
            ProtocolError: it is malformed, or of a later release.
        """
        self._load(KernelRecord.from_json(provisioner_info))

    def _load(self, record: KernelRecord) -> None:
        self._connection = record.connection_info
        self._launch_key = record.launch_key
        self._attempt = record.attempt
        self._environment = dict(record.environment)
        self.kernel_id = record.kernel_id
        self.connection_info = cast(KernelConnectionInfo, self._connection.to_jupyter())

    # The steps of a launch and of an end.

    async def _acquire_services(self) -> ResponseServer:
        if self._acquired is None:
            services = self.services
            await services.acquire()
            self._acquired = services
            self.outlives_process = services.outlives_process
        return self._acquired.response_server

    async def _release_services(self) -> None:
        services, self._acquired = self._acquired, None
        if services is not None:
            await services.release()

    async def _end(self, workload: Workload, grace_seconds: int) -> None:
        if self._restarting:
            await workload.stop()
        else:
            await workload.remove(grace_seconds=grace_seconds)

    async def _wait_gone(self, workload: Workload) -> None:
        try:
            await within(_GONE_SECONDS, workload.wait_gone())
        except asyncio.TimeoutError:
            self.log.warning(
                "Kernel %s: %s was not removed within %.0f s (node lost?); restarting anyway.",
                self.kernel_id,
                workload.name,
                _GONE_SECONDS,
            )

    async def _replace_predecessor(self) -> None:
        predecessor, self._predecessor = self._predecessor, None
        self._restarting = False
        if predecessor is not None:
            predecessor.release()
            await predecessor.remove_replaced()

    @property
    def _kernel_name(self) -> str:
        return str(getattr(self.parent, "kernel_name", "") or self.kernel_spec.display_name)

    def _check_configuration(self) -> None:
        if not self.image_name:
            msg = (
                f"The kernelspec {self._kernel_name!r} has no image: set image_name in its "
                "metadata.kernel_provisioner.config."
            )
            raise ConfigurationError(msg)

    def _build_launch(
        self, request: LaunchRequest, response_address: str, public_key: str
    ) -> Launch:
        assert self._launch_key is not None  # noqa: S101
        environment = kernel_environment(
            self.kernel_spec,
            request,
            kernel_id=self.kernel_id,
            kernel_name=self._kernel_name,
            transport_encryption=self.transport_encryption,
            response_address=response_address,
            public_key=public_key,
            port_range=self.port_range,
            max_message_bytes=MessageLimits(parent=self).from_kernel,
        )
        secret = {**request.environment, LAUNCH_KEY_VARIABLE: self._launch_key}
        # A client can extend the timeout, but not shorten it: JupyterLab's server sends one with every
        # start, and does not mean to refuse slow images. After that it does not wait any longer.
        timeout = max(request.launch_timeout or 0, self.launch_timeout)
        wait_timeout = 0 if request.launch_timeout else self.services.wait_timeout
        return Launch(
            kernel_id=self.kernel_id,
            kernel_name=self._kernel_name,
            attempt=self._attempt,
            timeout=timeout,
            wait_timeout=max(timeout, wait_timeout),
            request=request,
            environment=environment,
            secret_environment=secret,
        )

    def _take_workload(self) -> Workload | None:
        if self._confirmation is not None:
            self._confirmation.cancel()
            self._confirmation = None
        workload, self._workload = self._workload, None
        return workload

    def _record(self) -> KernelRecord:
        assert self._connection is not None  # noqa: S101
        assert self._launch_key is not None  # noqa: S101
        return KernelRecord(
            kernel_id=self.kernel_id,
            kernel_name=self._kernel_name,
            kernel_spec=self.kernel_spec.to_dict(),
            environment=self._environment,
            attempt=self._attempt,
            launch_key=self._launch_key,
            connection_info=self._connection,
            ownership=self.ownership,
        )

    async def _abandon_launch(self) -> None:
        workload = self._take_workload()
        self._connection = None
        if workload is not None:
            workload.remove_soon()
            workload.release()
        if self._predecessor is None:
            await self._release_services()

    def _forget_keys_of_earlier_attempt(self) -> None:
        # If the new connection info has no Curve keys, jupyter_client keeps those of the kernel that this
        # one replaces, and would encrypt to a kernel that does not.
        for name in ("curve_publickey", "curve_secretkey"):
            if hasattr(self.parent, name):
                setattr(self.parent, name, None)
