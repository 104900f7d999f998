"""The communication port: authenticated signals, which arrive even while the kernel is busy."""

import asyncio
import contextlib
import os
import signal

import pytest
from command_peer import command, connected, read, refuses_replies
from launched import KERNEL_ID, client_of, has_ended, run, start_busy, value

from gateway_provisioners.errors import CommandFailed
from gateway_provisioners.handshake import payload
from gateway_provisioners.handshake.command_client import CommandEndpoint, ask_usage, send_signal
from timeouts import TIMEOUT_SECONDS, within_timeout


async def test_interrupts_a_busy_loop(launch):
    async with launch() as kernel, client_of(kernel.info.to_jupyter()) as client:
        await run(client, "kept = 'still here'")
        busy = await start_busy(client, "busy()\nwhile True: pass")
        await send_signal(kernel.endpoint, signal.SIGINT)
        reply, _ = await within_timeout(busy)
        assert (reply["status"], reply["ename"]) == ("error", "KeyboardInterrupt")
        assert await value(client, "kept") == "still here"


async def test_interrupt_reaches_what_the_kernel_started(launch):
    async with launch() as kernel, client_of(kernel.info.to_jupyter()) as client:
        await run(client, "import subprocess; p = subprocess.Popen(['sleep', '3600'])")
        child = int(await value(client, "p.pid"))
        busy = await start_busy(client, "busy()\np.wait()")
        await send_signal(kernel.endpoint, signal.SIGINT)
        reply, _ = await within_timeout(busy)
        assert reply["ename"] == "KeyboardInterrupt"
        assert await has_ended(child)


async def test_kills_code_that_never_lets_the_interpreter_go(launch):
    async with launch() as kernel, client_of(kernel.info.to_jupyter()) as client:
        # C code that neither releases the GIL nor looks for signals.
        busy = await start_busy(client, "busy()\nsum(range(10**15))")
        await send_signal(kernel.endpoint, signal.SIGINT)  # delivered, and of no use
        await send_signal(kernel.endpoint, 0)
        await send_signal(kernel.endpoint, signal.SIGKILL)
        assert await kernel.launched.exit_code() == 128 + signal.SIGKILL
        assert await has_ended(kernel.info.pid)
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        with pytest.raises(CommandFailed, match="cannot be reached"):
            await send_signal(kernel.endpoint, 0)


async def test_stopping_the_listener_leaves_the_kernel(launch):
    async with launch() as kernel, client_of(kernel.info.to_jupyter()) as client:
        assert (await command(kernel.endpoint, {"shutdown": 1})) == {"ok": True}
        with pytest.raises(CommandFailed, match="cannot be reached"):
            await send_signal(kernel.endpoint, 0)
        assert await value(client, "1 + 1") == "2"
        await client.shutdown(reply=True, timeout=TIMEOUT_SECONDS)
        assert await kernel.launched.exit_code() == 0


async def test_usage_of_a_busy_kernel(launch):
    async with launch() as kernel, client_of(kernel.info.to_jupyter()) as client:
        before = await ask_usage(kernel.endpoint)
        # C code that does not release the GIL.
        busy = await start_busy(client, "busy()\nsum(range(10**15))")
        reply = await command(kernel.endpoint, {"usage": 1})
        assert reply["ok"] is True
        after = reply["usage"]
        assert after.keys() == {"memory", "memory_limit", "cpu", "cpu_limit"}
        assert after["memory"] > 0
        assert after["cpu"] > before.cpu
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)


@pytest.mark.parametrize("signum", [-1, 65, 10**30, "2", True, None, 1.5])
async def test_refuses_invalid_signals(launch_once, signum):
    with pytest.raises(CommandFailed, match="was not signalled"):
        await send_signal(launch_once.endpoint, signum)
    await send_signal(launch_once.endpoint, 0)


@pytest.mark.parametrize("unknown", [{}, {"unknown": 1}, {"signal": 2}])
async def test_unknown_commands_are_answered(launch_once, unknown):
    reply = await command(launch_once.endpoint, unknown)
    assert reply == {"ok": False, "error": "unknown command"}


@pytest.mark.attack(20)
async def test_silent_and_garbled_connections_delay_no_command(launch_once):
    async with contextlib.AsyncExitStack() as stack:
        # More than the launcher keeps: the oldest ones of the busiest address go.
        for _ in range(40):
            reader, _ = await stack.enter_async_context(connected(launch_once.endpoint))
            assert b"challenge" in await read(reader.readline())
        for garbage in (b"\n", b"\0\xff" * 1000, b"{" * 5000, b'{"signum": 9}\n', b"[]\n"):
            reader, writer = await stack.enter_async_context(connected(launch_once.endpoint))
            await read(reader.readline())
            writer.write(garbage)
            writer.write_eof()
            assert await read(reader.read()) == b""
            await send_signal(launch_once.endpoint, 0)


@pytest.mark.attack(16)
async def test_replayed_command_is_refused(launch_once):
    async with connected(launch_once.endpoint) as (reader, writer):
        challenge = payload.parse_challenge(await read(reader.readline()))
        line = payload.seal_command({"signum": 0}, launch_once.secret, KERNEL_ID, challenge)
        writer.write(line)
        assert await read(reader.readline())
    async with connected(launch_once.endpoint) as (reader, writer):
        assert payload.parse_challenge(await read(reader.readline())) != challenge
        writer.write(line)
        assert await read(reader.read()) == b""


@pytest.mark.attack(16)
async def test_command_with_another_key_is_refused(launch_once):
    endpoint = launch_once.endpoint
    forged = CommandEndpoint(endpoint.ip, endpoint.port, KERNEL_ID, payload.new_launch_key())
    with pytest.raises(CommandFailed, match="closed"):
        await send_signal(forged, signal.SIGKILL)
    await send_signal(endpoint, 0)


@pytest.mark.attack(11)
async def test_launch_key_is_worth_nothing_once_the_kernel_is_up(launch_once):
    endpoint = launch_once.endpoint
    assert launch_once.secret != launch_once.launch_key
    known = CommandEndpoint(endpoint.ip, endpoint.port, KERNEL_ID, launch_once.launch_key)
    with pytest.raises(CommandFailed, match="closed"):
        await send_signal(known, signal.SIGKILL)
    await send_signal(endpoint, 0)


async def test_launch_key_serves_a_gateway_without_fresh_keys(launch):
    async with launch(KERNEL_GATEWAY_FEATURES="other,fresh-keys") as kernel:
        assert kernel.info.features == ("mailbox", "state", "usage", "accepted")
        assert kernel.secret == kernel.launch_key
        await send_signal(kernel.endpoint, 0)


@pytest.mark.attack(16)
async def test_reply_is_no_command(launch_once):
    assert await refuses_replies(launch_once.endpoint)
    await send_signal(launch_once.endpoint, 0)


@pytest.mark.attack(16)
async def test_command_of_version_1_is_refused(launch_once):
    endpoint = launch_once.endpoint
    await send_signal(CommandEndpoint(endpoint.ip, endpoint.port, KERNEL_ID, None), signal.SIGKILL)
    await send_signal(endpoint, 0)
    os.kill(launch_once.info.pid, 0)


async def test_client_gives_up_on_a_silent_launcher():
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        endpoint = CommandEndpoint("127.0.0.1", port, KERNEL_ID, payload.new_launch_key())
        with pytest.raises(CommandFailed, match="did not answer"):
            await send_signal(endpoint, 2, timeout=0.05)


@pytest.mark.parametrize(
    "line", [b"x" * 10_000, b"[]\n", b'{"challenge": "\xc3\xa4"}\n', b"\n", b'{"challenge": ""}\n']
)
async def test_client_refuses_a_strange_launcher(line):
    async def strange(reader, writer):
        writer.write(line)
        writer.write_eof()
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(strange, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        endpoint = CommandEndpoint("127.0.0.1", port, KERNEL_ID, payload.new_launch_key())
        with pytest.raises(CommandFailed, match="does not speak the protocol"):
            await send_signal(endpoint, 2)
