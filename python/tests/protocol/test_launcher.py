"""A real launcher process under our own gateway side: report, execution, secrets, the end."""

import asyncio
import os
import signal
import socket
import struct

import pytest
import zmq
import zmq.asyncio
from launched import (
    client_of,
    has_ended,
    launched,
    permissions,
    run,
    value,
)
from zmq.utils.monitor import recv_monitor_message

from gateway_provisioners.handshake.command_client import send_signal
from timeouts import TIMEOUT_SECONDS, within_timeout

RESET_ON_CLOSE = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_reports_authenticated_and_encrypted_channels(launch, tmp_path):
    async with launch(KERNEL_NAME="data_sci_py") as kernel:
        assert kernel.arrival.protocol == 2
        assert kernel.arrival.peer_ip == "127.0.0.1"
        info = kernel.info
        assert (info.ip, info.transport, info.signature_scheme) == (
            "127.0.0.1",
            "tcp",
            "hmac-sha256",
        )
        assert info.kernel_name == "data_sci_py"
        assert info.features == ("mailbox", "state", "usage", "accepted", "fresh-key")
        assert info.pid != kernel.process.pid
        async with client_of(info.to_jupyter()) as client:
            assert await value(client, "6 * 7") == "42"
            assert await value(client, "__import__('os').getpid()") == str(info.pid)
        # The log holds no secrets.
        kernel.process.terminate()
        await kernel.launched.exit_code()
        log = kernel.launched.log()
        assert "is up, channels encrypted" in log
        for secret in (
            info.key,
            info.curve_publickey,
            info.curve_secretkey,
            kernel.launch_key,
            kernel.secret,
        ):
            assert secret not in log


async def handshake(info, *, curve):
    """Connect to the shell channel; returns the event that ends the attempt."""
    context = zmq.asyncio.Context()
    try:
        shell = context.socket(zmq.DEALER)
        if curve:
            shell.curve_publickey, shell.curve_secretkey = zmq.curve_keypair()
            shell.curve_serverkey = info.curve_publickey.encode()
        monitor = shell.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        )
        shell.connect(f"tcp://127.0.0.1:{info.shell_port}")
        return (await within_timeout(recv_monitor_message(monitor)))["event"]
    finally:
        context.destroy(linger=0)


async def test_channels_take_no_plain_text(launch):
    async with launch() as kernel:
        assert await handshake(kernel.info, curve=True) == zmq.EVENT_HANDSHAKE_SUCCEEDED
        assert await handshake(kernel.info, curve=False) != zmq.EVENT_HANDSHAKE_SUCCEEDED


async def test_encryption_can_be_disabled(launch):
    async with launch(KERNEL_TRANSPORT_ENCRYPTION="disabled") as kernel:
        assert kernel.info.curve_publickey is None
        async with client_of(kernel.info.to_jupyter()) as client:
            assert await value(client, "1 + 1") == "2"
        kernel.process.terminate()
        await kernel.launched.exit_code()
        assert "channels not encrypted" in kernel.launched.log()


async def test_user_code_finds_nothing_of_the_launcher(launch):
    environment = {"RESPONSE_ADDRESS": "x:1", "EG_PUBLIC_KEY": "x", "ACME": "kept"}
    async with (
        launch(**environment) as kernel,
        client_of(kernel.info.to_jupyter()) as client,
    ):
        import_os = await run(client, "import os, sys, stat, json")
        assert import_os[0]["status"] == "ok"
        names = await value(client, "sorted(os.environ)")
        assert "ACME" in names
        for name in ("LAUNCH_KEY", "PUBLIC_KEY", "RESPONSE_ADDRESS", "JPY_PARENT_PID"):
            assert name not in names
        assert await value(client, "len(sys.argv)") == "1"
        assert (
            await value(client, "any('launchers/python/scripts' in p for p in sys.path)") == "False"
        )
        # The connection file is for this user alone, and goes with the kernel.
        await run(client, "from ipykernel.connect import get_connection_file as f")
        path = await value(client, "f()")
        assert permissions(path) == (0o600, 0o700)
        await client.shutdown(reply=True, timeout=TIMEOUT_SECONDS)
        assert await kernel.launched.exit_code() == 0
        assert permissions(path) is None


async def test_shutdown_by_message_leaves_nothing(launch):
    async with launch() as kernel:
        async with client_of(kernel.info.to_jupyter()) as client:
            await client.shutdown(reply=True, timeout=TIMEOUT_SECONDS)
        assert await kernel.launched.exit_code() == 0
        assert await has_ended(kernel.info.pid)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", kernel.info.comm_port)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("import os; os._exit(3)", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 128 + signal.SIGSEGV),
    ],
)
async def test_exit_code_is_the_kernels(launch, code, exit_code):
    async with launch() as kernel, client_of(kernel.info.to_jupyter()) as client:
        # It may leave something behind.
        await run(client, "import subprocess; p = subprocess.Popen(['sleep', '3600'])")
        child = int(await value(client, "p.pid"))
        client.execute(code)
        assert await kernel.launched.exit_code() == exit_code
        assert await has_ended(child)


async def test_sigterm_ends_the_kernel(launch):
    async with launch() as kernel:
        kernel.process.terminate()
        assert await kernel.launched.exit_code() == 128 + signal.SIGTERM
        assert await has_ended(kernel.info.pid)


async def test_kernel_does_not_outlive_its_launcher(launch):
    async with launch() as kernel:
        kernel.process.kill()
        assert await has_ended(kernel.info.pid)


async def test_orphans_are_reaped(launch, tmp_path):
    """As PID 1 of a container, to which the system hands processes that lost their parent."""
    subreaper = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(36, 1) == 0  # PR_SET_CHILD_SUBREAPER, kept over execve
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
    wrapper = tmp_path / "subreaper.py"
    wrapper.write_text(subreaper)
    async with launch(wrapper=wrapper) as kernel, client_of(kernel.info.to_jupyter()) as client:
        code = """
import os, subprocess
orphan = int(subprocess.check_output(
    ["sh", "-c", "sleep 0 >/dev/null & echo $!"], start_new_session=True))
"""
        assert (await run(client, code))[0]["status"] == "ok"
        orphan = int(await value(client, "orphan"))
        assert await has_ended(orphan)
        await send_signal(kernel.endpoint, 0)  # answered in the loop that reaps
        with pytest.raises(ProcessLookupError):
            os.kill(orphan, 0)


async def test_ports_are_within_the_range(launch):
    async with launch("--port-range", "21000..22000") as kernel:
        info = kernel.info
        ports = {
            info.shell_port,
            info.iopub_port,
            info.stdin_port,
            info.control_port,
            info.hb_port,
            info.comm_port,
        }
        assert len(ports) == 6
        assert all(21000 <= port <= 22000 for port in ports)


async def test_kernel_class_of_a_user(launch, tmp_path):
    (tmp_path / "acme_kernel.py").write_text(
        "from ipykernel.ipkernel import IPythonKernel\n"
        "class AcmeKernel(IPythonKernel):\n"
        "    implementation = 'acme'\n"
    )
    arguments = ("--kernel-class-name", "acme_kernel.AcmeKernel")
    async with (
        launch(*arguments, PYTHONPATH=str(tmp_path)) as kernel,
        client_of(kernel.info.to_jupyter()) as client,
    ):
        reply = await client.kernel_info(reply=True, timeout=TIMEOUT_SECONDS)
        assert reply["content"]["implementation"] == "acme"


async def test_report_is_repeated_until_the_gateway_takes_it(tmp_path, server):
    """A gateway that has no room resets the connection; the launcher comes back."""
    reports = asyncio.Queue()
    connections = []

    async def reset_first_then_read(reader, writer):
        connections.append(writer)
        if len(connections) == 1:
            writer.get_extra_info("socket").setsockopt(*RESET_ON_CLOSE)
            writer.close()
            return
        await reports.put(await reader.read())
        writer.close()

    gateway = await asyncio.start_server(reset_first_then_read, "127.0.0.1", 0)
    address = f"127.0.0.1:{gateway.sockets[0].getsockname()[1]}"
    async with gateway:
        with launched(tmp_path, address, server.public_key) as kernel:
            assert await within_timeout(reports.get())
            assert len(connections) == 2
            kernel.process.terminate()
            assert await kernel.exit_code() == 128 + signal.SIGTERM
