"""The mailbox of a real launcher: a session that is back gets what it missed, once and in order."""

import asyncio
import contextlib
import dataclasses
import json
import os
import sys

import mailbox_peer
import pytest
from launched import KERNEL_ID, client_of, run
from mailbox_peer import Peer, printed

from gateway_provisioners.handshake import payload
from timeouts import TIMEOUT_SECONDS, within_timeout


def connection_of(kernel):
    """The peer's connection info and the mailbox's key, for JSON."""
    mailbox_key = payload.mailbox_key(kernel.secret, KERNEL_ID)
    return {**dataclasses.asdict(kernel.info), "mailbox_key": mailbox_key.hex()}


@contextlib.contextmanager
def peer(kernel, session="a-session", **options):
    connection = Peer(connection_of(kernel), session, **options)
    try:
        yield connection
    finally:
        connection.close()


async def welcomed(connection):
    return await asyncio.to_thread(connection.welcome)


async def until_idle(connection, request, **options):
    return await asyncio.to_thread(lambda: connection.until_idle(request, **options))


@pytest.mark.parametrize("encryption", ["required", "auto", "disabled"])
async def test_everything_comes_in_the_kernels_order(launch, encryption):
    async with launch(KERNEL_TRANSPORT_ENCRYPTION=encryption) as kernel:
        assert (kernel.info.curve_publickey is None) == (encryption == "disabled")
        with peer(kernel) as connection:
            welcome = await welcomed(connection)
            assert (welcome["execution_state"], welcome["features"]) == (
                "idle",
                ["mailbox", "state", "usage", "accepted"],
            )
            request = connection.execute("print(1); 2")
            messages = await until_idle(connection, request)
        kinds = [(m["channel"], m["msg_type"]) for m in messages]
        assert [k for k in kinds if k[0] == "iopub"] == [
            ("iopub", kind)
            for kind in ("status", "execute_input", "stream", "execute_result", "status")
        ]
        assert ("shell", "execute_reply") in kinds
        numbers = [m["number"] for m in messages]
        assert numbers == sorted(numbers)


async def until_accepted(connection):
    """Return the ids of the next confirmation."""

    def receive():
        while (message := connection.receive())["channel"] != "accepted":
            pass
        return json.loads(message["content"][0])

    return await asyncio.to_thread(receive)


async def test_a_request_that_comes_again_is_executed_once(launch_once, tmp_path):
    code = f"with open({str(tmp_path / 'runs')!r}, 'a') as file: _ = file.write('x')"
    confirming = {"features": ["accepted"]}
    with peer(launch_once, "again", **confirming) as connection:
        assert (await welcomed(connection))["remembers"] is True
        request = connection.execute(code)
        assert await until_accepted(connection) == [request]
        await until_idle(connection, request)
    with peer(launch_once, "again", **confirming) as connection:
        assert (await welcomed(connection))["remembers"] is True
        connection.execute(code, request)
        assert await until_accepted(connection) == [request]
        last = connection.execute("0")
        assert await until_accepted(connection) == [last]
        await until_idle(connection, last)
    assert (tmp_path / "runs").read_text() == "x"


async def test_gateways_that_do_not_ask_get_no_confirmations(launch_once):
    with peer(launch_once, "older") as connection:
        assert "remembers" not in await welcomed(connection)
        messages = await until_idle(connection, connection.execute("0"))
    assert "accepted" not in {message["channel"] for message in messages}


async def test_input_comes_through_the_mailbox(launch_once):
    with peer(launch_once, "asked") as connection:
        await welcomed(connection)
        request = connection.execute("print(input('?'))", allow_stdin=True)
        asked = {}
        while asked.get("channel") != "stdin":
            asked = await asyncio.to_thread(connection.receive)
        reply = connection.session.msg("input_reply", {"value": "me"}, parent=asked)
        connection.send("stdin", reply)
        assert printed(await until_idle(connection, request)) == "me\n"


# In one message: `print` itself may write the line and its end in two.
PRINT = "def say(n): print(f'{n}' + chr(10), end='', flush=True)"


async def test_a_gateway_that_is_killed_loses_nothing(launch, tmp_path):
    """Neither what it had not acknowledged nor what was published while it was gone."""
    os.mkfifo(tmp_path / "go")
    code = f"""
{PRINT}
for n in range(20): say(n)
open({str(tmp_path / "go")!r}).read()
for n in range(20, 2000): say(n)
'result'"""
    async with launch() as kernel:
        gateway = await asyncio.create_subprocess_exec(
            *(sys.executable, mailbox_peer.__file__),
            *(json.dumps(connection_of(kernel)), "killed", "5", code),
            stdout=asyncio.subprocess.PIPE,
        )

        async def next_line():
            return (await within_timeout(gateway.stdout.readline())).decode().strip()

        try:
            request = await next_line()
            acknowledged = [int(await next_line()) for _ in range(5)]
            while await next_line() != "welcome":
                pass
            first_again = int(await next_line())
        finally:
            gateway.kill()
            await gateway.wait()
        await asyncio.to_thread((tmp_path / "go").write_text, "go")
        with peer(kernel, "killed") as connection:
            assert (await welcomed(connection))["dropped"] == 0
            messages = await until_idle(connection, request)
    numbers = [m["number"] for m in messages]
    # From the first that was not acknowledged on.
    assert numbers[0] == first_again == acknowledged[-1] + 1
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [m["msg_type"] for m in messages].count("execute_reply") == 1
    lines = printed(messages).splitlines()
    assert lines == [str(n) for n in range(int(lines[0]), 2000)]
    assert "'result'" in [m["content"].get("data", {}).get("text/plain") for m in messages]


async def test_the_cell_says_how_much_of_its_output_was_dropped(launch):
    async with (
        launch(KERNEL_MAILBOX_BYTES="50000", KERNEL_MAILBOX_DISK_BYTES="0") as kernel,
        client_of(kernel.info.to_jupyter()) as other,
    ):
        with peer(kernel) as connection:
            await welcomed(connection)
        await run(other, f"{PRINT}\nfor n in range(300): say(n)")
        with peer(kernel) as connection:
            await welcomed(connection)
            request = connection.execute("'end'")
            kept = []
            while True:
                message = await asyncio.to_thread(connection.receive)
                if message["parent_header"].get("msg_id") == request:
                    break
                kept.append(message)
        reports = [m for m in kept if m["content"].get("name") == "stderr"]
        cell = reports[-1]["parent_header"]["msg_id"]
        of_cell = [m["content"] for m in kept if m["parent_header"]["msg_id"] == cell]
        dropped = sum(int(c["text"].split()[0]) for c in of_cell if c.get("name") == "stderr")
        lines = [c["text"] for c in of_cell if c.get("name") == "stdout"]
        # The input is one of the dropped messages; states are not counted.
        assert lines == [f"{n}\n" for n in range(dropped - 1, 300)]
        assert of_cell[-1] == {"execution_state": "idle"}


async def test_output_beyond_memory_waits_on_disk(launch):
    async with (
        launch(KERNEL_MAILBOX_BYTES="50000") as kernel,
        client_of(kernel.info.to_jupyter()) as other,
    ):
        with peer(kernel) as connection:
            await welcomed(connection)
        await run(other, "for n in range(3000): print(n, 'x' * 10_000, flush=True)")
        with peer(kernel) as connection:
            await welcomed(connection)
            text = ""
            while text.count("\n") < 3000:
                text += printed([await asyncio.to_thread(connection.receive)])
        assert [int(line.split()[0]) for line in text.splitlines()] == list(range(3000))


LARGE = """
from IPython.display import publish_display_data
publish_display_data({"text/plain": "x" * 40 * 2**20})
print("after it")
"""


async def test_output_that_is_too_large_becomes_a_sentence(launch_once):
    with peer(launch_once) as connection:
        await welcomed(connection)
        request = connection.execute(LARGE)
        messages = await asyncio.to_thread(connection.until_idle, request)
        texts = [m["content"]["text"] for m in messages if m["msg_type"] == "stream"]
        assert "40.0 MiB" in texts[0]
        assert "gateway.maxMessageBytes.fromKernel" in texts[0]
        assert texts[1:] == ["after it\n"]


async def test_text_that_is_too_large_comes_in_pieces(launch_once):
    with peer(launch_once) as connection:
        await welcomed(connection)
        request = connection.execute("print('x' * 40 * 2**20, end='y')")
        messages = await asyncio.to_thread(connection.until_idle, request)
        assert printed(messages) == "x" * 40 * 2**20 + "y"


async def test_reply_that_is_too_large_becomes_an_error(launch_once):
    with peer(launch_once) as connection:
        await welcomed(connection)
        request = connection.execute("", user_expressions={"a": "'x' * 40 * 2**20"})
        messages = await asyncio.to_thread(connection.until_idle, request)
        [reply] = [m["content"] for m in messages if m["msg_type"] == "execute_reply"]
        assert reply["ename"] == "MessageTooLarge"
        assert "gateway.maxMessageBytes.fromKernel" in reply["evalue"]


async def test_a_session_that_never_attached_has_missed_nothing(launch_once):
    async with client_of(launch_once.info.to_jupyter()) as other:
        await run(other, "print('before')")
    with peer(launch_once, "new") as connection:
        assert (await welcomed(connection))["dropped"] == 0
        messages = await until_idle(connection, connection.execute("print('after')"))
    assert printed(messages) == "after\n"


async def test_sessions_do_not_get_each_others_replies(launch_once):
    with peer(launch_once, "one") as one, peer(launch_once, "two") as two:
        await welcomed(one)
        await welcomed(two)
        of_one = one.execute("print('of one')")
        of_two = two.execute("print('of two')")
        for connection, request in ((one, of_one), (two, of_two)):
            seen = []
            while {of_one, of_two} != {m for m, kind in seen if kind == "idle"}:
                message = await asyncio.to_thread(connection.receive)
                parent = message["parent_header"].get("msg_id")
                seen.append((parent, message["content"].get("execution_state")))
                if message["channel"] == "shell":
                    assert parent == request


async def test_a_reply_waits_for_the_session_that_asked(launch_once):
    with peer(launch_once, "leaves") as connection:
        await welcomed(connection)
        request = connection.execute("print('while away')")
    async with client_of(launch_once.info.to_jupyter()) as other:
        await run(other, "1")
    with peer(launch_once, "leaves") as connection:
        await welcomed(connection)
        messages = await until_idle(connection, request)
    assert printed(messages) == "while away\n"


async def test_a_connection_that_hangs_is_replaced(launch_once):
    """Its other end may be gone long before TCP notices."""
    with peer(launch_once, "moves") as old:
        await welcomed(old)
        request = old.execute("print('moved')")
        with peer(launch_once, "moves") as new:
            await welcomed(new)
            assert printed(await until_idle(new, request)) == "moved\n"
            last = await asyncio.to_thread(old.socket.recv_multipart)
            while last != [b"taken"]:
                last = await asyncio.to_thread(old.socket.recv_multipart)


async def test_a_broken_connection_goes_on_where_it_was(launch_once):
    with peer(launch_once, "breaks", route=b"the same") as first:
        await welcomed(first)
        request = first.execute("print('on its way')")
        sent = await until_idle(first, request, acknowledge=False)
        # As the gateway does: the same route, a new connection.
        with peer(launch_once, "breaks", route=b"the same") as again:
            await welcomed(again)
            resent = await until_idle(again, request)
    assert [m["number"] for m in resent] == [m["number"] for m in sent]


@pytest.mark.attack(7)
@pytest.mark.parametrize(
    "key",
    [lambda _: b"guessed", lambda kernel: kernel.info.key.encode()],
    ids=["guess", "kernel's"],
)
async def test_attach_needs_the_key(launch_once, key):
    with peer(launch_once, "mine") as mine:
        await welcomed(mine)
        with peer(launch_once, "mine", key=key(launch_once)) as forged:
            forged.socket.send_multipart([b"ack", b"1000"])
            forged.socket.send_multipart([b"detach"])
            forged.execute("print('forged')")
            messages = await until_idle(mine, mine.execute("print('still mine')"))
            assert printed(messages) == "still mine\n"
            assert not forged.socket.poll(0)


async def test_a_gateway_without_fresh_keys_attaches_with_the_connections_key(launch):
    async with launch(KERNEL_GATEWAY_FEATURES="") as kernel:
        with peer(kernel, key=kernel.info.key.encode()) as connection:
            await welcomed(connection)
            messages = await until_idle(connection, connection.execute("print('attached')"))
    assert printed(messages) == "attached\n"


async def test_a_kernels_last_messages_arrive(launch):
    """More than may be on its way at once, which its client gets when the kernel has ended."""
    async with launch() as kernel:
        with peer(kernel) as connection:
            await welcomed(connection)
            request = connection.execute("for n in range(1000): print(n, flush=True)")
            async with client_of(kernel.info.to_jupyter()) as other:
                await run(other, "1")
                await other.shutdown(reply=True, timeout=TIMEOUT_SECONDS)
            messages = await until_idle(connection, request)
        assert printed(messages) == "".join(f"{n}\n" for n in range(1000))
        assert await kernel.launched.exit_code() == 0


async def test_text_goes_in_pieces_that_the_smallest_limit_allows(launch):
    async with launch(KERNEL_MAX_MESSAGE_BYTES=str(2**20)) as kernel:
        with peer(kernel) as connection:
            await welcomed(connection)
            sizes, receive = [], connection.socket.recv_multipart

            def recv_multipart():
                frames = receive()
                sizes.append(sum(map(len, frames)))
                return frames

            connection.socket.recv_multipart = recv_multipart
            request = connection.execute("print(chr(0x1F600) * 2**19, end='')")
            messages = await asyncio.to_thread(connection.until_idle, request)
        assert printed(messages) == chr(0x1F600) * 2**19
        assert max(sizes) <= 2**20


MANY_FRAMES = """
kernel = get_ipython().kernel
parent = kernel.get_parent()
kernel.session.send(kernel.iopub_socket, "x", {}, parent=parent, buffers=[b""] * 300_000)
"""


async def test_message_of_too_many_frames_becomes_a_sentence(launch_once):
    with peer(launch_once) as connection:
        await welcomed(connection)
        messages = await until_idle(connection, connection.execute(MANY_FRAMES))
        assert "gateway.maxMessageBytes.fromKernel" in printed(messages)


QUEUED = "for n in range(200): print(n, 'x' * 10_000, flush=True)"


async def test_every_cell_ends_for_a_client_that_missed_output(launch):
    async with launch(KERNEL_MAILBOX_BYTES="200000", KERNEL_MAILBOX_DISK_BYTES="0") as kernel:
        with peer(kernel) as connection:
            await welcomed(connection)
            requests = [connection.execute(QUEUED) for _ in range(3)]
        async with client_of(kernel.info.to_jupyter()) as other:
            await run(other, "1")
        with peer(kernel) as connection:
            await welcomed(connection)
            missing = {(r, end) for r in requests for end in ("execute_reply", "idle")}
            while missing:
                message = await asyncio.to_thread(connection.receive)
                kind = message["content"].get("execution_state", message["msg_type"])
                missing.discard((message["parent_header"].get("msg_id"), kind))
