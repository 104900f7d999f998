"""A trial start of a kernel without a gateway, on loopback: report, ports, code, interrupt, shutdown.

The start command runs bootstrap-kernel.sh in this container (`jupyter image-bootstrap check`), or a
container that shares this machine's network (`make check-image`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo

from gateway_provisioners.aio import within
from gateway_provisioners.cli.finding import Finding, Level, OnFinding
from gateway_provisioners.cli.snippets import SNIPPETS, Snippets
from gateway_provisioners.errors import GatewayProvisionersError
from gateway_provisioners.handshake.command_client import CommandEndpoint, send_signal
from gateway_provisioners.handshake.payload import GatewayKey, new_launch_key
from gateway_provisioners.handshake.response_server import Arrival, Expectation, ResponseServer
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.failures import GRACE_SECONDS
from gateway_provisioners.model.features import GATEWAY_FEATURES
from gateway_provisioners.model.kernelspec import DEFAULT_KERNEL_CLASS
from gateway_provisioners.model.launcher_environment import (
    LAUNCH_KEY_VARIABLE,
    launcher_environment,
)

# A command that runs a container's main process and ends with it, and its environment.
StartCommand = tuple[Sequence[str], Mapping[str, str]]

LOOPBACK = "127.0.0.1"
# Outside the ephemeral ports of the system, to detect launchers that ignore the range.
PORT_RANGE = range(20000, 30000)
LAST_LINES = 10
_BOOTSTRAP = "bootstrap-kernel"  # begins each line of the start script
_CHANNELS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port", "comm_port")


class TrialFailed(Exception):
    """The kernel does not work; the message says what failed, and what to do."""


class ContainerProcess:
    """The process that is, or runs, the container; writes its output to a file."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path, secret: str) -> None:
        self.process = process
        self._output = output
        self._secret = secret

    @property
    def output(self) -> str:
        """Everything it has printed so far."""
        return self._output.read_text(errors="replace")

    def last_lines(self) -> str:
        """Describe the end of its output, without the secret: some start scripts print it."""
        lines = self.output.replace(self._secret, "(KERNEL_LAUNCH_KEY)").splitlines()[-LAST_LINES:]
        if not lines:
            return "It printed nothing."
        return "Its last lines:" + "".join(f"\n           | {line}" for line in lines)

    async def ends_within(self, seconds: float) -> bool:
        """Wait for it to end, and return whether it has."""
        with contextlib.suppress(asyncio.TimeoutError):
            await within(seconds, self.process.wait())
        return self.process.returncode is not None

    async def stop(self) -> None:
        """Stop it as Kubernetes does: SIGTERM, and SIGKILL after the grace period."""
        if self.process.returncode is not None:
            return
        # The whole group: a command that runs a container does not handle signals itself.
        os.killpg(self.process.pid, signal.SIGTERM)
        if not await self.ends_within(GRACE_SECONDS):
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()


async def try_kernel(
    prepare: Callable[[Mapping[str, str]], AbstractContextManager[StartCommand]],
    *,
    language: str,
    timeout: float,
    on_finding: OnFinding,
) -> None:
    """Start a kernel with the variables that a gateway sets, use it through its channels, and shut it down.

    Args:
        prepare: takes the gateway's variables; its context yields what to start.
        language: KERNEL_LANGUAGE.
        timeout: seconds to wait for the report, and for each answer.
        on_finding: called with each finding at once.
    """
    server = ResponseServer(LOOPBACK, 0, 0, GatewayKey.generate())
    await server.start()
    kernel_id, launch_key = str(uuid.uuid4()), new_launch_key()
    variables = launcher_environment(
        kernel_id=kernel_id,
        kernel_name="check",
        language=language,
        username="check",
        spark_init_mode=None,
        transport_encryption="auto",
        response_address=server.response_address,
        public_key=server.public_key,
        port_range=f"{PORT_RANGE.start}..{PORT_RANGE.stop - 1}",
        kernel_class_name=DEFAULT_KERNEL_CLASS if language == "python" else None,
        features=GATEWAY_FEATURES,
    )
    variables[LAUNCH_KEY_VARIABLE] = launch_key
    try:
        async with contextlib.AsyncExitStack() as stack:
            expectation = stack.enter_context(server.expect(kernel_id, launch_key))
            start_command = stack.enter_context(prepare(variables))
            container = await stack.enter_async_context(_running(*start_command))
            arrival = await _arrival(container, expectation, timeout)
            trial = _Trial(kernel_id, launch_key, language, arrival, timeout, on_finding)
            await trial.run(container)
    except TrialFailed as failure:
        on_finding(Finding(Level.PROBLEM, f"{language} kernel", str(failure)))
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def _running(
    command: Sequence[str], environment: Mapping[str, str]
) -> AsyncIterator[ContainerProcess]:
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        output = Path(folder) / "output"
        try:
            with output.open("wb") as log:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    env=dict(environment),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            raise TrialFailed(f"{command[0]} cannot be started: {error.strerror}.") from error
        container = ContainerProcess(process, output, environment[LAUNCH_KEY_VARIABLE])
        try:
            yield container
        finally:
            await container.stop()


async def _arrival(
    container: ContainerProcess, expectation: Expectation, timeout: float
) -> Arrival:
    report = asyncio.create_task(expectation.next_arrival())
    end = asyncio.create_task(container.process.wait())
    try:
        await asyncio.wait({report, end}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if report.done():
            return report.result()
        reason = (
            f"it ended with exit code {end.result()} before it reported; see the exit codes in"
            " docs/custom-kernel-images.md."
            if end.done()
            else f"it did not report within {timeout:g} seconds."
        )
        raise TrialFailed(f"{reason} {container.last_lines()}")
    finally:
        report.cancel()
        end.cancel()


class _Trial:
    """The steps of the trial once the kernel has reported."""

    def __init__(
        self,
        kernel_id: str,
        launch_key: str,
        language: str,
        arrival: Arrival,
        timeout: float,
        on_finding: OnFinding,
    ) -> None:
        connection = arrival.connection_info
        if arrival.protocol == 1:
            connection = dataclasses.replace(connection, ip=arrival.peer_ip)
        self._connection = connection
        self._protocol = arrival.protocol
        self._language = language
        self._launch_key = launch_key
        self._secret = arrival.secret or launch_key
        self._endpoint = CommandEndpoint(
            ip=connection.ip,
            port=connection.comm_port,
            kernel_id=kernel_id,
            launch_key=self._secret if arrival.protocol > 1 else None,
        )
        self._timeout = timeout
        self._on_finding = on_finding

    def _add(self, text: str, level: Level = Level.OK) -> None:
        self._on_finding(Finding(level, f"{self._language} kernel", text))

    async def run(self, container: ContainerProcess) -> None:
        """Run all steps; raise TrialFailed if one of them makes the rest impossible."""
        self._check_protocol()
        client = AsyncKernelClient()
        client.load_connection_info(cast(KernelConnectionInfo, self._connection.to_jupyter()))
        client.start_channels()
        try:
            await self._wait_until_ready(client)
            await self._check_execution(client)
            client.shutdown()
            await self._check_shutdown(container)
        finally:
            client.stop_channels()
            client.context.destroy()
        self._check_log(container.output)

    def _check_protocol(self) -> None:
        if self._protocol > 1:
            self._add(f"it reported, in version {self._protocol} of the protocol")
        else:
            self._add(
                "it reported, in version 1 of the protocol: neither its report nor the commands to it are"
                " authenticated. The launchers of this package use version 2",
                Level.WARNING,
            )
        if self._connection.curve_publickey:
            self._add("its channels are encrypted")
        else:
            self._add(
                "its channels are not encrypted: a gateway with transport encryption `required` refuses it",
                Level.WARNING,
            )

    async def _wait_until_ready(self, client: AsyncKernelClient) -> None:
        # Before the ports: launchers of version 1 report them first, and bind them afterwards.
        try:
            await client.wait_for_ready(timeout=self._timeout)
        except RuntimeError as error:
            await self._check_ports()
            msg = "it reported, but does not answer a kernel_info_request on its channels."
            raise TrialFailed(msg) from error
        await self._check_ports()

    async def _check_ports(self) -> None:
        ports = {name: getattr(self._connection, name) for name in _CHANNELS}
        for name, port in ports.items():
            try:
                _, writer = await within(
                    self._timeout, asyncio.open_connection(self._connection.ip, port)
                )
            except (OSError, asyncio.TimeoutError) as error:
                msg = (
                    f"it reported {name} {port}, but nothing listens there:"
                    " it must bind all six ports, on all addresses."
                )
                raise TrialFailed(msg) from error
            writer.close()
        outside = [f"{name} {port}" for name, port in ports.items() if port not in PORT_RANGE]
        if outside:
            given = f"{PORT_RANGE.start}..{PORT_RANGE.stop - 1}"
            self._add(f"PORT_RANGE was {given}; it opened {', '.join(outside)}", Level.WARNING)
        else:
            self._add("its six ports can be reached and are within PORT_RANGE")

    async def _check_execution(self, client: AsyncKernelClient) -> None:
        snippets = SNIPPETS.get(self._language)
        if snippets is None:
            self._add("it answers on its channels")
        else:
            await self._execute(client, snippets.sum)
        await self._check_interrupt(client, snippets)

    async def _execute(self, client: AsyncKernelClient, code: str) -> None:
        output: list[str] = []

        def keep(message: dict[str, Any]) -> None:
            content = message["content"]
            output.append(content.get("text") or content.get("data", {}).get("text/plain", ""))

        try:
            reply = await client.execute_interactive(code, output_hook=keep, timeout=self._timeout)
        except TimeoutError as error:
            raise TrialFailed(
                f"`{code}` did not finish within {self._timeout:g} seconds."
            ) from error
        if reply["content"]["status"] != "ok" or "2" not in "".join(output):
            raise TrialFailed(f"`{code}` gave {''.join(output).strip() or 'nothing'!r}.")
        self._add(f"`{code}` is 2")

    async def _check_interrupt(self, client: AsyncKernelClient, snippets: Snippets | None) -> None:
        request = client.execute(snippets.endless) if snippets else None
        try:
            if request:
                await within(self._timeout, _printed(client, request))
            await send_signal(self._endpoint, signal.SIGINT)
            if request:
                await within(self._timeout, _reply(client, request))
            await client.kernel_info(reply=True, timeout=self._timeout)
        except GatewayProvisionersError as error:
            msg = f"the launcher's communication port does not accept an interrupt: {error}"
            raise TrialFailed(msg) from error
        except (asyncio.TimeoutError, TimeoutError) as error:
            msg = (
                "an interrupt does not stop running code. The launcher must forward signals to the"
                " process group of the kernel."
            )
            raise TrialFailed(msg) from error
        doing = "an endless loop can be interrupted" if snippets else "it survives an interrupt"
        self._add(doing)

    async def _check_shutdown(self, container: ContainerProcess) -> None:
        # A gateway stops the container at the same time, with the same grace period.
        if await container.ends_within(GRACE_SECONDS):
            self._add(f"it ends when it is asked to, with exit code {container.process.returncode}")
            return
        await container.stop()
        text = f"it did not end within {GRACE_SECONDS} seconds of being asked to, and was stopped by a signal"
        self._add(text, Level.WARNING)

    def _check_log(self, output: str) -> None:
        connection: ConnectionInfo = self._connection
        keys = [connection.key, connection.curve_secretkey]
        if self._protocol > 1:
            keys.append(self._secret)
        if any(key in output for key in keys if key):
            msg = "its log contains a key of the kernel, with which readers of the log can run code in it."
            raise TrialFailed(msg)
        if self._launch_key in output:
            self._add(
                "its log contains KERNEL_LAUNCH_KEY: its start script prints the environment, including the"
                " secrets that users pass to the kernel",
                Level.WARNING,
            )
        for line in output.splitlines():
            if line.startswith(f"{_BOOTSTRAP}: "):
                said = line.partition(": ")[2].replace(self._launch_key, "(KERNEL_LAUNCH_KEY)")
                self._add(said, Level.WARNING)


async def _printed(client: AsyncKernelClient, request: str) -> None:
    while True:
        message = await client.get_iopub_msg()
        if message["parent_header"].get("msg_id") == request and message["msg_type"] == "stream":
            return


async def _reply(client: AsyncKernelClient, request: str) -> None:
    while (await client.get_shell_msg())["parent_header"].get("msg_id") != request:
        pass
