"""R kernels from the image that ships them, under our own gateway side: from the report to the end."""

import asyncio
import base64
import contextlib
import os
import signal
import socket

import pytest
import reference_v1
from command_peer import command, connected, read, refuses_replies
from launched import KERNEL_ID, client_of, has_ended, run, start_busy
from launched_r import children, signals_handled
from test_launcher import RESET_ON_CLOSE

from gateway_provisioners.errors import CommandFailed
from gateway_provisioners.handshake import payload
from gateway_provisioners.handshake.command_client import CommandEndpoint, send_signal
from gateway_provisioners.handshake.response_server import ResponseServer
from timeouts import TIMEOUT_SECONDS, within_timeout

CONNECT = "close(socketConnection('127.0.0.1', {port}))"


async def printed(client, code):
    content, text = await run(client, code)
    assert content["status"] == "ok", content
    return text.strip()


async def results(client, code):
    """Execute code; gives the content of what it displays, by MIME type."""
    data = []

    def output(message):
        if message["msg_type"] in ("display_data", "execute_result"):
            data.append(message["content"]["data"])

    reply = await client.execute_interactive(code, output_hook=output, timeout=TIMEOUT_SECONDS)
    assert reply["content"]["status"] == "ok", reply["content"]
    return data


async def test_reports_and_executes(launch_r, server):
    async with launch_r(KERNEL_NAME="r", PORT_RANGE="26000..27000") as kernel:
        info = kernel.info
        assert (kernel.arrival.protocol, kernel.arrival.peer_ip) == (2, "127.0.0.1")
        assert (info.ip, info.transport, info.kernel_name) == ("127.0.0.1", "tcp", "r")
        ports = {
            *(info.shell_port, info.iopub_port, info.stdin_port, info.control_port, info.hb_port),
            info.comm_port,
        }
        assert len(ports) == 6
        assert all(26000 <= port <= 27000 for port in ports)
        assert info.features == ("usage", "fresh-key")
        async with client_of(info.to_jupyter()) as client:
            assert await printed(client, "cat(Sys.getpid())") == str(info.pid)
            assert await printed(client, "cat(ls())") == ""
            # The connection file is gone as soon as it has been read.
            assert await printed(client, "cat(list.files(tempdir()))") == ""
            variables = (await printed(client, "cat(names(Sys.getenv()))")).split()
            assert {"KERNEL_ID", "HOME"} <= set(variables)
            for name in ("KERNEL_LAUNCH_KEY", "PUBLIC_KEY", "RESPONSE_ADDRESS"):
                assert name not in variables
            await client.shutdown(reply=True, timeout=TIMEOUT_SECONDS)
        assert await kernel.launched.exit_code() == 0
        log = kernel.launched.log()
        assert log == (
            f"launch_IRkernel: kernel {KERNEL_ID} is up, channels not encrypted; reported to"
            f" {server.response_address} with protocol version 2\n"
        )


async def test_what_a_user_does(launch_r):
    async with launch_r() as kernel, client_of(kernel.info.to_jupyter()) as client:
        assert (await results(client, "head(mtcars, 2)"))[0]["text/html"].startswith("<table")
        plot = "library(ggplot2)\nggplot(mpg, aes(displ, hwy)) + geom_point()"
        [data] = await results(client, plot)
        assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
        error, _ = await run(client, "f <- function() stop('oh')\nf()")
        assert error["evalue"].startswith("Error in f(): oh")
        # The frames of the user's code, and none of the kernel's.
        frames = [line.split("   # ")[0] for line in error["traceback"][1:]]
        assert frames == ["1. f()", '2. stop("oh")']
        await run(client, "a_long_name <- 1")
        reply = await client.complete("a_long_n", 8, reply=True, timeout=TIMEOUT_SECONDS)
        assert "a_long_name" in reply["content"]["matches"]

        def answer(message):
            assert message["content"]["prompt"] == "name? "
            client.input("Ada")

        text = []
        await client.execute_interactive(
            "cat('hello', readline('name? '))",
            allow_stdin=True,
            stdin_hook=answer,
            output_hook=lambda message: text.append(message["content"].get("text", "")),
            timeout=TIMEOUT_SECONDS,
        )
        assert "".join(text) == "hello Ada"


async def test_interrupts_a_busy_loop(launch_r):
    async with launch_r() as kernel, client_of(kernel.info.to_jupyter()) as client:
        await run(client, "kept <- 'still here'")
        busy = await start_busy(client, "busy()\nrepeat {}", CONNECT)
        await send_signal(kernel.endpoint, 0)  # answered meanwhile
        await send_signal(kernel.endpoint, signal.SIGINT)
        assert (await within_timeout(busy))[0]["status"] == "abort"
        assert await printed(client, "cat(kept)") == "still here"
        # An idle kernel, and one whose whole container is interrupted, go on as well.
        await send_signal(kernel.endpoint, signal.SIGINT)
        os.kill(kernel.launched.pid, signal.SIGINT)
        # The container's first process passes it on, in its own time: it must not meet the next cell.
        for pid in (kernel.launched.pid, kernel.info.pid):
            await signals_handled(pid)
        assert await printed(client, "cat(kept)") == "still here"


async def test_usage_of_a_busy_kernel(launch_r):
    async with launch_r() as kernel, client_of(kernel.info.to_jupyter()) as client:
        before = (await command(kernel.endpoint, {"usage": 1}))["usage"]
        busy = await start_busy(client, "busy()\nsuspendInterrupts(repeat {})", CONNECT)
        reply = await command(kernel.endpoint, {"usage": 1})
        assert reply["ok"] is True
        after = reply["usage"]
        assert after.keys() == {"memory", "memory_limit", "cpu", "cpu_limit"}
        assert isinstance(after["memory"], int)
        assert after["memory"] > 0
        assert after["cpu"] > before["cpu"]
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)


async def test_an_interrupt_at_any_moment_loses_no_message(launch_r):
    async with launch_r() as kernel, client_of(kernel.info.to_jupyter()) as client:
        for moment in range(100):
            running = asyncio.create_task(run(client, "cat('whole')"))
            await asyncio.sleep(moment / 10_000)
            os.kill(kernel.info.pid, signal.SIGINT)
            content, text = await within_timeout(running)
            assert content["status"] in ("ok", "abort")
            assert text in ("whole", "")
            await signals_handled(kernel.info.pid)
            # It is for the cell that ran, not for the next one.
            assert await within_timeout(printed(client, "cat('next')")) == "next"


async def test_answers_while_its_whole_container_is_interrupted(launch_r):
    async with launch_r() as kernel:
        await send_signal(kernel.endpoint, 0)
        [listener] = children(kernel.info.pid)
        assert os.getpgid(listener) != os.getpgid(kernel.info.pid)
        for _ in range(300):
            os.kill(kernel.launched.pid, signal.SIGINT)
            await send_signal(kernel.endpoint, 0)


async def test_interrupt_reaches_what_the_kernel_started(launch_r):
    async with launch_r() as kernel, client_of(kernel.info.to_jupyter()) as client:
        # R itself takes no notice as long as it waits for the command.
        started = "bash -c 'echo >/dev/tcp/127.0.0.1/{port}; exec sleep 3600'"
        busy = await start_busy(client, "system(busy())", f'"{started}"')
        await send_signal(kernel.endpoint, signal.SIGINT)
        await within_timeout(busy)


async def test_kills_code_that_never_looks_for_interrupts(launch_r):
    async with launch_r() as kernel, client_of(kernel.info.to_jupyter()) as client:
        code = "busy()\nsuspendInterrupts(repeat {})"
        busy = await start_busy(client, code, CONNECT)
        await send_signal(kernel.endpoint, signal.SIGINT)  # delivered, and of no use
        await send_signal(kernel.endpoint, signal.SIGKILL)
        assert await kernel.launched.exit_code() == 128 + signal.SIGKILL
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [(".Internal(quit('no', 3L, FALSE))", 3), ("tools::pskill(Sys.getpid(), 9)", 137)],
)
async def test_exit_code_is_the_kernels(launch_r, code, exit_code):
    async with launch_r() as kernel, client_of(kernel.info.to_jupyter()) as client:
        client.execute(code)
        assert await kernel.launched.exit_code() == exit_code


async def test_sigterm_ends_everything(launch_r):
    async with launch_r() as kernel:
        [listener] = children(kernel.info.pid)
        kernel.launched.terminate()
        assert await kernel.launched.exit_code() == 128 + signal.SIGTERM
        assert await has_ended(listener)
        log = kernel.launched.log()
        assert kernel.info.key not in log
        assert kernel.launch_key not in log
        assert kernel.secret not in log


async def test_stopping_the_listener_leaves_the_kernel(launch_r):
    async with launch_r() as kernel, client_of(kernel.info.to_jupyter()) as client:
        assert (await command(kernel.endpoint, {"shutdown": 1})) == {"ok": True}
        with pytest.raises(CommandFailed, match="cannot be reached"):
            await send_signal(kernel.endpoint, 0)
        assert await printed(client, "cat(1 + 1)") == "2"


@pytest.mark.attack(16)
async def test_only_authenticated_commands_are_obeyed(launch_r):
    async with launch_r() as kernel, contextlib.AsyncExitStack() as stack:
        endpoint = kernel.endpoint
        for signum in (-1, 65, 10**30, "2", True, None, 1.5):
            with pytest.raises(CommandFailed, match="was not signalled"):
                await send_signal(endpoint, signum)
        # More silent connections than the launcher keeps: the oldest ones go.
        for _ in range(40):
            reader, _ = await stack.enter_async_context(connected(kernel.endpoint))
            assert b"challenge" in await read(reader.readline())
        for garbage in (b"\n", b"\0\xff" * 1000, b"{" * 5000, b'{"signum": 9}\n', b"[]\n"):
            reader, writer = await stack.enter_async_context(connected(kernel.endpoint))
            await read(reader.readline())
            writer.write(garbage)
            writer.write_eof()
            assert await read(reader.read()) == b""
            await send_signal(endpoint, 0)
        # A command that was sealed for another connection, and one with another key.
        async with connected(kernel.endpoint) as (reader, _):
            challenge = payload.parse_challenge(await read(reader.readline()))
        async with connected(kernel.endpoint) as (reader, writer):
            assert payload.parse_challenge(await read(reader.readline())) != challenge
            line = payload.seal_command({"signum": 9}, kernel.secret, KERNEL_ID, challenge)
            writer.write(line)
            assert await read(reader.read()) == b""
        # The launch key is worth nothing once the kernel is up.
        known = CommandEndpoint(endpoint.ip, endpoint.port, KERNEL_ID, kernel.launch_key)
        with pytest.raises(CommandFailed, match="closed"):
            await send_signal(known, signal.SIGKILL)
        forged = CommandEndpoint(endpoint.ip, endpoint.port, KERNEL_ID, payload.new_launch_key())
        with pytest.raises(CommandFailed, match="closed"):
            await send_signal(forged, signal.SIGKILL)
        assert await refuses_replies(endpoint)
        await send_signal(endpoint, 0)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_connections_that_are_cut_do_not_stop_the_listener(
    launch_r_for, gateway_key, address
):
    server = ResponseServer(address, 0, 0, gateway_key)
    await server.start()
    async with launch_r_for(server) as kernel:
        endpoint = kernel.endpoint
        for _ in range(200):
            async with connected(endpoint) as (reader, writer):
                challenge = payload.parse_challenge(await read(reader.readline()))
                line = payload.seal_command({"signum": 0}, kernel.secret, KERNEL_ID, challenge)
                writer.write(line)
        await send_signal(endpoint, 0)
    await server.stop()


async def test_a_silent_connection_is_closed(launch_r):
    async with launch_r() as kernel, connected(kernel.endpoint) as (reader, _):
        await read(reader.readline())
        assert await read(reader.read()) == b""


async def test_under_a_gateway_of_version_1(container_of_r, gateway_v1):
    address = gateway_v1.response_address, gateway_v1.public_key
    with container_of_r.launched(*address) as kernel:
        info = await asyncio.to_thread(gateway_v1.connection_info)
        assert (info["kernel_id"], info["ip"], info["pgid"]) == (KERNEL_ID, "0.0.0.0", info["pid"])
        async with client_of(info) as client:
            await run(client, "kept <- 1")
            busy = await start_busy(client, "busy()\nrepeat {}", CONNECT)
            port = info["comm_port"]
            for garbage in (
                [],
                "text",
                {"signum": "2"},
                {"signum": [2, 9]},
                {"shutdown": [1, 2]},
                {},
            ):
                assert await asyncio.to_thread(reference_v1.command, port, garbage) == b""
            with socket.create_connection(("127.0.0.1", port)) as silent:
                silent.sendall(b'{"signum"')
                await asyncio.to_thread(reference_v1.command, port, {"signum": 2}, half_close=False)
                assert (await within_timeout(busy))[0]["status"] == "abort"
            assert await printed(client, "cat(kept)") == "1"
        await asyncio.to_thread(reference_v1.command, port, {"signum": 9})
        assert await kernel.exit_code() == 128 + signal.SIGKILL


async def test_enterprise_gateways_names(container_of_r, gateway_v1):
    address = gateway_v1.response_address, gateway_v1.public_key
    arguments = ("--RemoteProcessProxy.port-range", "23000..24500", "--cluster-type=none")
    with container_of_r.launched(*address, arguments=arguments):
        info = await asyncio.to_thread(gateway_v1.connection_info)
        assert 23000 <= info["comm_port"] <= 24500


async def test_report_is_repeated_until_the_gateway_takes_it(container_of_r, server):
    """A gateway that has no room resets the connection; the launcher comes back."""
    reports = asyncio.Queue()
    connections = []

    async def reset_first_then_read(reader, writer):
        connections.append(writer)
        if len(connections) == 1:
            await reader.read()  # read and dropped
            writer.get_extra_info("socket").setsockopt(*RESET_ON_CLOSE)
            writer.transport.abort()
            return
        await reports.put(await reader.read())
        writer.close()

    gateway = await asyncio.start_server(reset_first_then_read, "127.0.0.1", 0)
    address = f"127.0.0.1:{gateway.sockets[0].getsockname()[1]}"
    async with gateway:
        with container_of_r.launched(address, server.public_key) as kernel:
            assert await within_timeout(reports.get())
            kernel.terminate()
            assert await kernel.exit_code() == 128 + signal.SIGTERM
            assert len(connections) == 2
