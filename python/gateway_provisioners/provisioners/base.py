"""A kernel's life on any engine: jupyter_client's contract, in terms of a `Workload`."""

from __future__ import annotations

import asyncio
import signal
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from gateway_provisioners.errors import (
    ConfigurationError,
    LaunchFailed,
)
from gateway_provisioners.handshake import payload
from gateway_provisioners.handshake.command_client import CommandEndpoint
from gateway_provisioners.handshake.response_server import ResponseServer
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.failures import GRACE_SECONDS
from gateway_provisioners.model.features import USAGE
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.launch_progress import LaunchProgress
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.request.launch_request import LaunchRequest, parse_launch_request
from gateway_provisioners.model.usage import Usage
from gateway_provisioners.model.workload_details import WorkloadDetails
from gateway_provisioners.provisioners.authorization import check_user
from gateway_provisioners.provisioners.client_environment import client_environment
from gateway_provisioners.provisioners.contract import GatewayContract, KernelEnd
from gateway_provisioners.provisioners.engine_services import EngineServices
from gateway_provisioners.provisioners.http_errors import as_http_errors
from gateway_provisioners.provisioners.last_end import LastEnd
from gateway_provisioners.provisioners.launch_outcome import (
    confirm_address,
    first_of_report_or_failure,
)
from gateway_provisioners.provisioners.launch_report import LaunchReport
from gateway_provisioners.provisioners.launch_traits import LaunchTraits
from gateway_provisioners.provisioners.mailbox import MailboxEndpoint
from gateway_provisioners.provisioners.memory_advice import advise_on_memory
from gateway_provisioners.provisioners.new_launch import new_launch
from gateway_provisioners.provisioners.report_checks import check_report
from gateway_provisioners.provisioners.restart import Restart
from gateway_provisioners.provisioners.signals import pass_signal
from gateway_provisioners.provisioners.usage_reader import UsageReader
from gateway_provisioners.provisioners.workload import Launch, Workload


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
        self._restart = Restart(self.log)
        self._environment: dict[str, str] = {}
        self._request: LaunchRequest | None = None
        self._connection: ConnectionInfo | None = None
        self._launch_key: str | None = None
        self._attempt_name = ""  # of the launch that `_connection` is of
        self._attempt = 0
        self._last_end = LastEnd(self.log)
        self._confirmation: asyncio.Task[None] | None = None
        self._usage_reader: UsageReader | None = None

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
    def attempt(self) -> str:
        return self._attempt_name

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
        return self._last_end.cause(self._workload)

    @property
    def memory_advice(self) -> str:
        return advise_on_memory(
            self,
            kernel_name=self._kernel_name,
            metadata=self.kernel_spec.metadata,
            environment=self._environment,
            groups=self.ownership.groups,
            kernel_specs=getattr(self.parent, "kernel_spec_manager", None),
        )

    @property
    def details(self) -> WorkloadDetails:
        return self._workload.details if self._workload else WorkloadDetails()

    async def usage(self) -> Usage | None:
        connection = self._connection
        if connection is None or USAGE not in connection.features or not self.is_known_to_live:
            return None
        if self._usage_reader is None:
            self._usage_reader = UsageReader(self.services.usage_questions)
        return await self._usage_reader.read(self._command_endpoint(connection))

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
                with LaunchReport(
                    self._progress, f"{self._kernel_name!r} ({self.kernel_id})"
                ) as report:
                    connection = await self._launch_workload(self._request, report)
            except BaseException as error:
                await self._abandon_launch()
                if isinstance(error, LaunchFailed):
                    error.kernel = f"{self._kernel_name!r} ({self.kernel_id})"
                    error.note_request(
                        sizes=bool(self._request.resources), volumes=bool(self._request.volumes)
                    )
                    if error.reason == "OOMKilled":
                        error.message += f" {self.memory_advice}"
                raise
        self._forget_keys_of_earlier_attempt()
        if isinstance(self.parent, KernelManager):
            # Its channels can then be connected to an IPv6 address; 0MQ's default is IPv4.
            self.parent.context.ipv6 = True
        self.connection_info = cast(KernelConnectionInfo, connection.to_jupyter())
        return self.connection_info

    @property
    def _progress(self) -> LaunchProgress:
        """The progress of the present launch, which plain jupyter_server's managers do not have."""
        progress: LaunchProgress | None = getattr(self.parent, "progress", None)
        if progress is None or progress.has_ended:
            return LaunchProgress(time.monotonic)
        return progress

    async def _launch_workload(
        self, request: LaunchRequest, report: LaunchReport
    ) -> ConnectionInfo:
        response_server = await self._acquire_services()
        self._launch_key = payload.new_launch_key()
        with response_server.expect(self.kernel_id, self._launch_key) as expectation:
            address = await self.services.response_address(expectation)
            launch = new_launch(
                request,
                self,
                self.kernel_spec,
                kernel_id=self.kernel_id,
                kernel_name=self._kernel_name,
                attempt=self._attempt,
                launch_key=self._launch_key,
                response_address=address,
                public_key=response_server.public_key,
                wait_timeout=self.services.wait_timeout,
                progress=report.progress,
            )
            began = asyncio.get_running_loop().time()
            report.workload = self._workload = await self.create_workload(launch)
            arrival = await first_of_report_or_failure(
                self._workload,
                expectation,
                launch.progress,
                began=began,
                timeout=launch.timeout,
                wait_timeout=launch.wait_timeout,
                unschedulable_grace=self.services.unschedulable_grace,
            )
        self._connection = arrival.connection_info
        self._launch_key = arrival.secret or self._launch_key
        self._attempt_name = payload.attempt_name(self._launch_key, self.kernel_id)
        await check_report(self._connection, self)
        self._confirmation = asyncio.create_task(
            confirm_address(self._workload, self.kernel_id, self._connection.ip)
        )
        await self._workload.remember(self._record())
        await self._restart.complete()
        return self._connection

    async def poll(self) -> int | None:
        """Return the kernel's exit code, or None while it lives, without asking the engine."""
        if self._workload is None:
            return 0
        code = self._workload.exit_code()
        if code is not None:
            self._last_end.note(self.kernel_id, self._workload)
        return code

    async def explain_end(self) -> KernelEnd:
        if self._workload is None:
            return KernelEnd()
        return await self._last_end.explain(self.kernel_id, self._workload)

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
        with as_http_errors():
            await pass_signal(
                self._command_endpoint(self._connection),
                signum,
                shutting_down=shutting_down,
                log=self.log,
            )

    def _command_endpoint(self, connection: ConnectionInfo) -> CommandEndpoint:
        return CommandEndpoint(
            ip=connection.ip,
            port=connection.comm_port,
            kernel_id=self.kernel_id,
            launch_key=self._launch_key if connection.protocol > 1 else None,
        )

    async def shutdown_requested(self, restart: bool = False) -> None:  # noqa: ARG002
        # The kernel has received its shutdown message. It can still clean up within the grace time, and
        # the user need not wait for the engine to notice its end.
        await self.terminate()

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002
        if self._workload is not None:
            await self._restart.end(self._workload, GRACE_SECONDS)

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002
        if self._workload is not None:
            await self._restart.end(self._workload, 0)

    async def begin_restart(self) -> None:
        if self.is_known_to_live:
            self._last_end.forget()
        if self.outlives_process and self._workload is not None:
            await self._restart.begin(self._workload)

    async def give_up_restart(self) -> None:
        if not self._restart.is_under_way:
            return
        # Even a dead predecessor stores what the next attempt needs.
        self._workload = self._restart.give_up() or self._workload
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
            await self._restart.end(workload, GRACE_SECONDS)
        if restart:
            await self._restart.wait_gone(self.kernel_id, workload)
            self._last_end.note(self.kernel_id, workload)
        self._restart.leave(workload)
        if not restart:
            await self._release_services()

    async def adopt(self, name: str, record: KernelRecord) -> None:
        await self._acquire_services()
        self._load(record)
        self._last_end.restarted_elsewhere(self._workload)
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
        self._attempt_name = payload.attempt_name(record.launch_key, record.kernel_id)
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
        if not self._restart.has_predecessor:
            await self._release_services()

    def _forget_keys_of_earlier_attempt(self) -> None:
        # If the new connection info has no Curve keys, jupyter_client keeps those of the kernel that this
        # one replaces, and would encrypt to a kernel that does not.
        for name in ("curve_publickey", "curve_secretkey"):
            if hasattr(self.parent, name):
                setattr(self.parent, name, None)
