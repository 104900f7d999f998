"""Stock clients in front of the relay, which must behave like the kernel's own channels."""

import asyncio
import signal

import psutil
import pytest
import zmq
import zmq.asyncio
from command_peer import command
from jupyter_client.session import Session
from launched import client_of, run, start_busy, value

from gateway_provisioners.handshake.command_client import send_signal
from timeouts import TIMEOUT_SECONDS, within_timeout


async def test_input_is_asked_of_the_client_that_executes(launch_once):
    info = launch_once.info.to_jupyter()
    async with client_of(info) as asking, client_of(info) as other:
        execution = asyncio.create_task(
            asking.execute_interactive(
                "print(input('name? '))",
                allow_stdin=True,
                stdin_hook=answer(asking),
                timeout=TIMEOUT_SECONDS,
            )
        )
        assert (await execution)["content"]["status"] == "ok"
        assert not await other.stdin_channel.msg_ready()


def answer(client):
    def hook(message):
        assert message["content"]["prompt"] == "name? "
        client.input("me")

    return hook


async def test_two_clients_get_all_output_and_their_own_replies(launch_once):
    info = launch_once.info.to_jupyter()
    async with client_of(info) as one, client_of(info) as two:
        values = await asyncio.gather(value(one, "'one'"), value(two, "'two'"))
        assert values == ["one", "two"]
        assert await value(two, "'again'") == "again"
        heard = await one.get_iopub_msg(timeout=TIMEOUT_SECONDS)
        while heard["content"].get("text") != "again\n":
            heard = await one.get_iopub_msg(timeout=TIMEOUT_SECONDS)
        assert not await one.shell_channel.msg_ready()


async def test_a_client_without_an_identity_gets_its_reply(launch_once):
    """As jupyter_server connects to ask a kernel what it is."""
    info = launch_once.info
    context = zmq.asyncio.Context()
    try:
        shell = context.socket(zmq.DEALER)
        shell.curve_publickey, shell.curve_secretkey = zmq.curve_keypair()
        shell.curve_serverkey = info.curve_publickey.encode()
        shell.connect(f"tcp://127.0.0.1:{info.shell_port}")
        session = Session(key=info.key.encode())
        request = session.send(shell, "kernel_info_request")
        frames = await within_timeout(shell.recv_multipart())
        reply = session.deserialize(session.feed_identities(frames)[1])
        assert reply["parent_header"]["msg_id"] == request["msg_id"]
    finally:
        context.destroy(linger=0)


async def test_a_new_subscriber_is_welcomed_as_ipykernel_does(launch_once):
    info = launch_once.info
    context = zmq.asyncio.Context()
    try:
        iopub = context.socket(zmq.SUB)
        iopub.curve_publickey, iopub.curve_secretkey = zmq.curve_keypair()
        iopub.curve_serverkey = info.curve_publickey.encode()
        iopub.subscribe(b"a-topic")
        iopub.connect(f"tcp://127.0.0.1:{info.iopub_port}")
        topic, *frames = await within_timeout(iopub.recv_multipart())
        session = Session(key=info.key.encode())
        welcome = session.deserialize(session.feed_identities(frames)[1])
        assert topic == b"a-topic"
        assert welcome["msg_type"] == "iopub_welcome"
        assert welcome["content"] == {"subscription": "a-topic"}
    finally:
        context.destroy(linger=0)


async def test_big_output_arrives_whole(launch_once):
    async with client_of(launch_once.info.to_jupyter()) as client:
        shown = []
        await client.execute_interactive(
            "from IPython.display import display\n"
            "for n in range(3): display({'text/plain': str(n) * 20_000_000}, raw=True)",
            output_hook=lambda m: shown.append(m["content"].get("data", {}).get("text/plain")),
            timeout=TIMEOUT_SECONDS,
        )
        assert [(text[0], len(text)) for text in shown if text] == [
            (str(n), 20_000_000) for n in range(3)
        ]


async def test_heartbeats_are_the_kernels(launch):
    async with launch() as kernel, client_of(kernel.info.to_jupyter()) as client:
        context = zmq.asyncio.Context()
        try:
            heart = context.socket(zmq.REQ)
            heart.curve_publickey, heart.curve_secretkey = zmq.curve_keypair()
            heart.curve_serverkey = kernel.info.curve_publickey.encode()
            heart.connect(f"tcp://127.0.0.1:{kernel.info.hb_port}")
            await heart.send(b"ping")
            assert await within_timeout(heart.recv()) == b"ping"
            busy = await start_busy(client, "busy()\nwhile True: pass")
            await heart.send(b"while busy")
            assert await within_timeout(heart.recv()) == b"while busy"
            # A stopped kernel's heart does not beat.
            await send_signal(kernel.endpoint, signal.SIGSTOP)
            while psutil.Process(kernel.info.pid).status() != psutil.STATUS_STOPPED:
                await send_signal(kernel.endpoint, 0)
            await heart.send(b"unanswered")
            await send_signal(kernel.endpoint, 0)
            assert not await heart.poll(200)
            await send_signal(kernel.endpoint, signal.SIGCONT)
            assert await within_timeout(heart.recv()) == b"unanswered"
            await send_signal(kernel.endpoint, signal.SIGINT)
            await within_timeout(busy)
        finally:
            context.destroy(linger=0)


async def test_a_flood_of_output_does_not_keep_an_interrupt_away(launch):
    async with launch() as kernel, client_of(kernel.info.to_jupyter()) as client:
        flood = await start_busy(client, "busy()\nwhile True: print('x' * 1000, flush=True)")
        await send_signal(kernel.endpoint, signal.SIGINT)
        reply, _ = await within_timeout(flood)
        assert reply["ename"] == "KeyboardInterrupt"


async def test_garbage_ends_nothing(launch_once):
    info = launch_once.info
    with zmq.Context() as context:
        for name in ("shell", "control", "stdin", "hb", "mailbox"):
            with context.socket(zmq.DEALER) as sock:
                sock.curve_publickey, sock.curve_secretkey = zmq.curve_keypair()
                sock.curve_serverkey = info.curve_publickey.encode()
                sock.connect(f"tcp://127.0.0.1:{getattr(info, f'{name}_port')}")
                for frames in (
                    *([b""], [b"\xff"], [b"attach"], [b"attach", b"", b"["], [b"ack", b"x"]),
                    *([b"shell", b"<IDS|MSG>"], [b"hb"], [b"<IDS|MSG>"]),
                ):
                    sock.send_multipart(frames)
    async with client_of(info.to_jupyter()) as client:
        assert await value(client, "1 + 1") == "2"
    await send_signal(launch_once.endpoint, 0)


async def test_only_its_user_reaches_the_kernels_own_sockets(launch_once):
    async with client_of(launch_once.info.to_jupyter()) as client:
        code = """
import json, os, stat
from ipykernel.connect import get_connection_file
info = json.load(open(get_connection_file()))
directory = os.path.dirname(info["ip"])
print(info["transport"], oct(stat.S_IMODE(os.stat(directory).st_mode)), "curve_secretkey" in info)
"""
        assert (await run(client, code))[1] == "ipc 0o700 False\n"


async def state_of(kernel):
    reply = await command(kernel.endpoint, {"state": 1})
    assert reply.keys() == {"ok", "execution_state"}
    return reply["execution_state"]


async def until_it_is(state, kernel):
    """Ask until the kernel has reported it, which it does apart from the execution."""
    while await state_of(kernel) != state:
        pass


async def test_the_command_state_reports_what_the_kernel_does(launch):
    async with launch() as kernel, client_of(kernel.info.to_jupyter()) as client:
        await until_it_is("idle", kernel)
        busy = await start_busy(client, "busy()\nwhile True: pass")
        await until_it_is("busy", kernel)
        # The status messages of other requests do not change that.
        client.control_channel.send(client.session.msg("kernel_info_request"))
        await client.get_control_msg(timeout=TIMEOUT_SECONDS)
        assert await state_of(kernel) == "busy"
        await send_signal(kernel.endpoint, signal.SIGINT)
        await within_timeout(busy)
        await until_it_is("idle", kernel)


async def test_empty_reply_ends_nothing(launch):
    async with launch() as kernel, client_of(kernel.info.to_jupyter()) as client:
        code = """
kernel = get_ipython().kernel
for origin in (b"c", b"m"):
    kernel.control_stream.send_multipart([b"relay", origin])
"""
        assert (await run(client, code))[0]["status"] == "ok"
        client.control_channel.send(client.session.msg("kernel_info_request"))
        await client.get_control_msg(timeout=TIMEOUT_SECONDS)
        assert await value(client, "1 + 1") == "2"


@pytest.mark.attack(5)
async def test_subscriber_that_does_not_read_keeps_a_bounded_number_of_bytes(launch):
    async with launch(KERNEL_MAX_MESSAGE_BYTES=str(2**20)) as kernel:
        context = zmq.asyncio.Context()
        try:
            iopub = context.socket(zmq.SUB)
            iopub.rcvhwm = 1
            iopub.curve_publickey, iopub.curve_secretkey = zmq.curve_keypair()
            iopub.curve_serverkey = kernel.info.curve_publickey.encode()
            iopub.subscribe(b"")
            iopub.connect(f"tcp://127.0.0.1:{kernel.info.iopub_port}")
            await within_timeout(iopub.recv_multipart())
            before = psutil.Process(kernel.process.pid).memory_info().rss
            async with client_of(kernel.info.to_jupyter()) as client:
                code = """
from IPython.display import publish_display_data
for n in range(200): publish_display_data({"text/plain": "x" * 10**6})
"""
                assert (await run(client, code))[0]["status"] == "ok"
            assert psutil.Process(kernel.process.pid).memory_info().rss - before < 64 * 2**20
            seen = [(await within_timeout(iopub.recv_multipart()))[-1]]
            while b"KERNEL_MAILBOX_DISK_BYTES" not in seen[-1]:
                seen.append((await within_timeout(iopub.recv_multipart()))[-1])
        finally:
            context.destroy(linger=0)
