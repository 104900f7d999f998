"""Requests and output that clients and gateways confirm: at most once, and nothing lost."""

import asyncio
import contextlib
import json
import os
import random
import sys
import uuid
from types import SimpleNamespace

import pytest
import pytest_asyncio

from api import adopting_gateway_program
from api.adopting_gateway_program import kernel_of
from api.confirming_client import Closed, CuttingProxy, confirming_client
from api.running import TOKEN, running_gateway
from api.test_api_mailbox import chain, launched_kernels  # noqa: F401 - fixtures
from api.test_api_shares import people, start  # noqa: F401 - a fixture
from ci.paths import ROOT
from timeouts import eventually, within_timeout


def connected(gateway, kernel_id, **options):
    return confirming_client(gateway.url, TOKEN, kernel_id, **options)


def printed(messages):
    return "".join(m.content["text"] for m in messages if m.kind == "stream")


def append_to(path):
    """Return code that leaves a line in a file each time that it is executed."""
    return f"with open({str(path)!r}, 'a') as file: _ = file.write('x')"


def is_idle(message):
    return message.content.get("execution_state") == "idle"


def kernel_at(gateway, kernel_id):
    return gateway.app.kernel_manager.get_kernel(kernel_id)


# What is agreed on.


async def test_a_client_learns_that_its_gateway_confirms(chain):  # noqa: F811
    kernel_id = await chain.start()
    async with connected(chain.gateway, kernel_id) as client:
        assert client.websocket._response.headers["X-Gateway-Features"] == "confirm"
        await client.next()
        [attached] = client.attached
        assert attached.pop("attempt") == kernel_at(chain.gateway, kernel_id).attempt
        assert attached == {"confirms": True, "mailbox": True}
        request = await client.execute("print(1)")
        assert printed(await client.end_of(request)) == "1\n"
        assert client.accepted == [request]


@pytest.mark.parametrize(
    "options", [{"features": "other"}, {"session": ""}, {"protocols": []}], ids=str
)
async def test_other_clients_get_only_messages(chain, options):  # noqa: F811
    kernel_id = await chain.start()
    async with connected(chain.gateway, kernel_id, **options) as client:
        assert "X-Gateway-Features" not in client.websocket._response.headers
        if options != {"protocols": []}:
            request = await client.execute("print(1)")
            await client.end_of(request)
            assert (client.attached, client.accepted) == ([], [])
            await client.confirm()
            with pytest.raises(Closed, match="1007"):
                await client.until(lambda: False)


async def test_every_gateway_names_a_launch_alike(chain):  # noqa: F811
    kernel_id = await chain.start()
    first = kernel_at(chain.gateway, kernel_id).attempt
    await chain.next()
    async with connected(chain.gateway, kernel_id) as client:
        await client.next()
        assert client.attached[0]["attempt"] == first
        await chain.gateway.client.request("POST", f"/api/kernels/{kernel_id}/restart")
        await client.until(lambda: len(client.attached) == 2)
        second = client.attached[1]["attempt"]
        assert second not in {first, ""}
        assert kernel_at(chain.gateway, kernel_id).provisioner.secret not in second


# Requests that are sent again.


async def test_a_request_that_comes_again_is_executed_once(chain, tmp_path):  # noqa: F811
    kernel_id = await chain.start()
    code = append_to(tmp_path / "runs")
    async with connected(chain.gateway, kernel_id) as client:
        await client.next()
        request = await client.execute(code)
        await client.end_of(request)
    async with connected(chain.gateway, kernel_id) as again:
        await again.next()
        attempt = again.attached[0]["attempt"]
        await again.resend(attempt, {request: code})
        await again.until(lambda: again.accepted == [request])
        await again.execute(code, request)  # also unnamed
        last = await again.execute("0")
        await again.end_of(last)
        assert again.accepted == [request, request, last]
    assert (tmp_path / "runs").read_text() == "x"


@pytest_asyncio.fixture
async def second_gateway(chain):  # noqa: F811
    """Return a function that starts a program with a gateway for a kernel of the chain's."""
    programs = []

    async def begin(kernel_id):
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", adopting_gateway_program.__name__),
            cwd=ROOT / "python/tests",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        programs.append(program)
        kernel = kernel_of(kernel_at(chain.gateway, kernel_id).provisioner)
        program.stdin.write(f"{kernel}\n".encode())
        port = int(await within_timeout(program.stdout.readline()))
        return SimpleNamespace(program=program, url=f"http://127.0.0.1:{port}")

    yield begin
    for program in programs:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.wait()


@pytest.mark.parametrize("is_handed_over", [True, False], ids=["after", "before"])
async def test_a_request_survives_a_gateway_that_is_killed(
    chain,  # noqa: F811
    second_gateway,
    tmp_path,
    is_handed_over,
):
    """Killed before or after it has handed the request over, and before the client knows."""
    kernel_id = await chain.start()
    gateway = await second_gateway(kernel_id)
    runs = tmp_path / "runs"
    os.mkfifo(tmp_path / "go")
    code = f"{append_to(runs)}\nprint(open({str(tmp_path / 'go')!r}).read())"

    async def has_run():
        return runs.exists() and runs.read_text()

    async with connected(gateway, kernel_id) as client:
        await client.next()
        if not is_handed_over:
            gateway.program.send_signal(19)  # SIGSTOP
        request = await client.execute(code)
        if is_handed_over:
            await eventually(has_run)
        gateway.program.kill()
        await gateway.program.wait()
    async with connected(chain.gateway, kernel_id) as again:
        await again.next()
        assert again.attached[0]["attempt"] == client.attached[0]["attempt"]
        await again.resend(again.attached[0]["attempt"], {request: code})
        await again.until(lambda: again.accepted == [request])
        await asyncio.to_thread((tmp_path / "go").write_text, "gone on")
        assert printed(await again.end_of(request)) == "gone on\n"
    assert runs.read_text() == "x"


async def test_a_cut_connection_loses_nothing_and_repeats_nothing(chain, tmp_path):  # noqa: F811
    """With requests and output in flight, at any moment."""
    kernel_id = await chain.start()
    chance = random.Random(17)
    requests = {
        uuid.uuid4().hex: f"{append_to(tmp_path / 'runs')}\n"
        f"for n in range({start}, {start + 200}): print(f'{{n}} ' + 'x' * 500, flush=True)"
        for start in range(0, 2000, 200)
    }
    unaccepted, seen, texts, ended = dict(requests), set(), [], set()
    attempt, cuts = "", 0

    async def use(client):
        """Send what is not accepted, and receive until all has ended, or the connection is cut."""
        nonlocal attempt
        await client.until(lambda: client.attached)
        assert client.attached[0]["attempt"] == attempt or not attempt
        attempt = client.attached[0]["attempt"]
        await client.resend(attempt, unaccepted)
        while len(ended) < len(requests):
            message = await client.next()
            for request in client.accepted:
                unaccepted.pop(request, None)
            if message and message.header["msg_id"] not in seen:
                seen.add(message.header["msg_id"])
                if message.kind == "stream":
                    texts.append(message.content["text"])
                if is_idle(message):
                    ended.add(message.parent)
            if client.received % 20 == 0:
                await client.confirm()
            if cuts < 12 and chance.random() < 0.02:
                return
        await client.confirm()

    async with CuttingProxy(chain.gateway.app.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        while len(ended) < len(requests):
            async with confirming_client(url, TOKEN, kernel_id) as client:
                with contextlib.suppress(Closed, ConnectionError):
                    await use(client)
                cuts += 1
                proxy.cut()
    assert cuts > 3
    assert [int(line.split()[0]) for line in "".join(texts).splitlines()] == list(range(2000))
    assert (tmp_path / "runs").read_text() == "x" * len(requests)


# Restarts.


async def is_aborted(client, request):
    """Return the words in a request's cell, which was not executed."""
    messages = await client.end_of(request)
    [reply] = [message for message in messages if message.kind.endswith("_reply")]
    assert (reply.channel, reply.kind) == ("shell", "execute_reply")
    assert reply.content == {"status": "aborted"}
    return printed(messages)


async def test_a_request_for_an_earlier_launch_is_aborted(chain, tmp_path):  # noqa: F811
    kernel_id = await chain.start()
    code = append_to(tmp_path / "runs")
    async with connected(chain.gateway, kernel_id) as client:
        await client.next()
        before = client.attached[0]["attempt"]
        await chain.gateway.client.request("POST", f"/api/kernels/{kernel_id}/restart")
        await client.until(lambda: len(client.attached) == 2)
        request = uuid.uuid4().hex
        await client.resend(before, {request: code})
        assert "the kernel was restarted meanwhile" in await is_aborted(client, request)
        last = await client.execute("print(2)")
        assert printed(await client.end_of(last)) == "2\n"
        assert client.accepted == [last]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("by", ["this gateway", "another one"])
async def test_what_is_held_during_a_restart_knows_its_launch(
    chain,  # noqa: F811
    monkeypatch,
    tmp_path,
    by,
):
    kernel_id = await chain.start()
    kernel = kernel_at(chain.gateway, kernel_id)
    async with connected(chain.gateway, kernel_id) as client:
        await client.next()
        before = client.attached[0]["attempt"]
        monkeypatch.setattr(type(kernel), "is_moving", True)
        old = uuid.uuid4().hex
        await client.resend(before, {old: append_to(tmp_path / "runs")})
        new = await client.execute("print(1)")
        [connection] = chain.gateway.app.kernel_websocket_connection_class.of_kernel(kernel)

        async def both_are_held():
            return len(connection.client_input.held_headers) == 2

        await eventually(both_are_held)
        if by == "this gateway":
            await kernel.restart_kernel()
        else:
            async with running_gateway() as other:
                kernels = other.app.kernel_manager
                provisioner = kernel.provisioner
                await kernels.adopt(
                    kernel_id=kernel_id,
                    kernel_name="launched",
                    kernel_spec=provisioner.kernel_spec,
                    env={},
                    last_activity="",
                    started="",
                    ownership=kernel.ownership,
                    restore=lambda each: _restore(each, provisioner),
                )
                there = kernels.get_kernel(kernel_id)
                await there.restart_kernel()
                there.cleanup_connection_file()  # both gateways have the same name for it here
                await kernel.follow("", lambda each: _restore(each, there.provisioner))
                await kernels.release(kernel_id, ended=False)
        monkeypatch.undo()
        await client.until(lambda: len(client.attached) == 2)
        assert client.attached[1]["held"] == [new]
        assert client.attached[1]["attempt"] != before
        assert "restarted meanwhile" in await is_aborted(client, old)
        assert printed(await client.end_of(new)) == "1\n"
        assert client.accepted == [new]
    assert not (tmp_path / "runs").exists()


async def _restore(provisioner, other):
    provisioner.adopt_from(other)


async def test_a_kernel_without_a_mailbox_confirms_nothing(gateway, tmp_path):
    kernel_id = await gateway.client.start("local")
    async with connected(gateway, kernel_id) as client:
        await client.next()
        [attached] = client.attached
        assert (attached["confirms"], attached["mailbox"]) == (False, False)
        request = await client.execute("print(1)")
        assert printed(await client.end_of(request)) == "1\n"
        await client.confirm()
        again = uuid.uuid4().hex
        await client.resend(attached["attempt"], {again: append_to(tmp_path / "runs")})
        assert "It is not known whether this ran" in await is_aborted(client, again)
        await gateway.client.request("POST", f"/api/kernels/{kernel_id}/restart")
        await client.until(lambda: len(client.attached) == 2)
        assert client.attached[1]["attempt"] not in {attached["attempt"], ""}
        assert client.accepted == []
    assert not (tmp_path / "runs").exists()


async def test_a_reader_confirms_and_sends_nothing_again(people):  # noqa: F811
    async with running_gateway() as gateway:
        kernel_id = await start(gateway, users={"bob": "read"})
        async with (
            confirming_client(gateway.url, "token-of-alice", kernel_id) as owner,
            confirming_client(gateway.url, "token-of-bob", kernel_id) as reader,
        ):
            await reader.next()
            [attached] = reader.attached
            assert (attached["confirms"], attached["mailbox"]) == (False, False)
            request = await owner.execute("print(1)")
            await owner.end_of(request)
            await reader.until(lambda: "1\n" in printed(reader.messages))
            await reader.confirm()
            again = uuid.uuid4().hex
            await reader.resend(attached["attempt"], {again: "print(2)"})
            assert "It is not known whether this ran" in await is_aborted(reader, again)


# Output.


async def test_only_what_is_not_confirmed_comes_again(chain):  # noqa: F811
    kernel_id = await chain.start()
    async with connected(chain.gateway, kernel_id) as client:
        first = await client.execute("print('first')")
        await client.end_of(first)
        await client.confirm()
        second = await client.execute("print('second')")
        before = await client.end_of(second)
    async with connected(chain.gateway, kernel_id) as again:
        after = await again.end_of(second)
    assert [m.header["msg_id"] for m in after] == [m.header["msg_id"] for m in before]
    assert first not in {message.parent for message in again.messages}


@pytest.mark.attack(23)
async def test_a_client_that_confirms_nothing_gets_a_bounded_number(chain):  # noqa: F811
    kernel_id = await chain.start()
    async with (
        connected(chain.gateway, kernel_id) as client,
        connected(chain.gateway, kernel_id, session="another-session") as other,
    ):
        code = "for n in range(1000): print(n, flush=True)"
        request = await client.execute(code)
        while True:  # until the other one, which confirms, has it all
            message = await other.next()
            if other.received % 50 == 0:
                await other.confirm()
            if message and is_idle(message):
                break
        await client.until(lambda: client.received == 256)
        waiting = asyncio.create_task(client.next())
        await other.end_of(await other.execute("0"))  # which this client would be sent as well
        assert not waiting.done()
        await client.confirm()
        await waiting
        while not any(is_idle(m) and m.parent == request for m in client.messages):
            await client.confirm()
            await client.next()
        text = printed(m for m in client.messages if m.parent == request)
        assert text.split() == [str(n) for n in range(1000)]


LIES = {
    "more than was sent": [{"received": 1000}],
    "less than before": [{"received": 1}, {"received": 0}],
    "a negative number": [{"received": -1}],
    "a truth": [{"received": True}],
    "text for a number": [{"received": "1"}],
    "a huge number": [{"received": 2**64}],
    "too many ids": [{"resend": {"attempt": "a", "ids": [str(n) for n in range(1001)]}}],
    "too many ids in two frames": [
        {"resend": {"attempt": "a", "ids": [f"{frame} {n}" for n in range(501)]}}
        for frame in range(2)
    ],
    "a long id": [{"resend": {"attempt": "a", "ids": ["x" * 257]}}],
    "a long attempt": [{"resend": {"attempt": "a" * 129, "ids": []}}],
    "no ids": [{"resend": {"attempt": "a"}}],
    "objects for ids": [{"resend": {"attempt": "a", "ids": [{}]}}],
    "a list": [[]],
    "deep": ["[" * 100_000],
    "no JSON": ["\x00"],
    "a huge frame": [{"other": "x" * 5 * 10**6}],
}


@pytest.mark.attack(23)
async def test_a_client_that_lies_is_disconnected(gateway):
    kernel_id = await gateway.client.start("local")
    async with connected(gateway, kernel_id, session="honest") as other:
        for lies in LIES.values():
            async with connected(gateway, kernel_id, session=uuid.uuid4().hex) as client:
                await client.end_of(await client.execute("0"))
                for lie in lies:
                    text = lie if isinstance(lie, str) else json.dumps(lie)
                    await client.websocket.send_str(text)
                with pytest.raises(Closed, match="1007"):
                    await client.until(lambda: False)
        request = await other.execute("print(1)")
        assert printed(await other.end_of(request)) == "1\n"


async def test_frames_of_later_clients_are_ignored(gateway):
    kernel_id = await gateway.client.start("local")
    async with connected(gateway, kernel_id) as client:
        await client.tell(other=[1])
        await client.tell()
        request = await client.execute("print(1)")
        assert printed(await client.end_of(request)) == "1\n"
