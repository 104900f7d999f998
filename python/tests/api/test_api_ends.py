"""Kernels that end by themselves: their users see why, in the cell that ran."""

import asyncio
import json

import nbformat
import pytest
import pytest_asyncio

from api.running import running_gateway
from api.test_api_jupyterlab import jupyter_server
from api.test_api_mailbox import begin, end_of, launched_kernels  # noqa: F401 - a fixture
from api.test_api_shares import (  # noqa: F401 - fixtures
    KERNELS,
    connected,
    messages_until,
    people,
    start,
    until_watching,
)
from gateway_provisioners.gateway.websocket import arrival
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from gateway_provisioners.provisioners.contract import KernelEnd
from notebook_client import execute_notebook
from timeouts import eventually


@pytest_asyncio.fixture
async def gateway(people):  # noqa: F811 - the fixture
    async with running_gateway() as gateway:
        yield gateway


DIE = "import os; print('begun', flush=True); input_is_gone = os._exit(7)"
WORDS = "The kernel exited with code 7. The kernel is being restarted, without its variables."


def status(message):
    return message["content"].get("execution_state") if message["msg_type"] == "status" else None


def is_restarting(message):
    return status(message) == "restarting"


def is_end_of(request):
    return lambda message: (
        status(message) == "idle" and message["parent_header"].get("msg_id") == request
    )


def of_cell(messages, request):
    return [
        (message["channel"], message["msg_type"], message["content"])
        for message in messages
        if message["parent_header"].get("msg_id") == request
    ]


def errors(messages, request):
    """Return what a client gets of the end of a cell, after what the cell has published."""
    ends = of_cell(messages, request)
    first = next((n for n, (_, kind, _) in enumerate(ends) if kind == "error"), len(ends))
    return [(kind, content.get("evalue", "")) for _, kind, content in ends[first:]]


ENDED = [("error", WORDS), ("execute_reply", WORDS), ("status", "")]


@KERNELS
async def test_the_running_cell_says_why_before_it_is_gone(gateway, kernel):
    kernel_id = await start(gateway, kernel)
    async with connected(gateway, "alice", kernel_id) as alice:
        request = await begin(alice, DIE)
        messages = await messages_until(alice, is_restarting)
        assert errors(messages, request) == ENDED
        assert [kind for _, kind, _ in of_cell(messages, request)][-1] == "status"
        replies = [each for each in of_cell(messages, request) if each[0] == "shell"]
        assert [(kind, content["ename"]) for _, kind, content in replies] == [
            ("execute_reply", "KernelDied")
        ]
    async with connected(gateway, "alice", kernel_id, session="a new page") as alice:
        request = await begin(alice, "print(1)")
        later = await messages_until(alice, is_end_of(request))
        assert WORDS not in json.dumps(later)


@KERNELS
async def test_every_client_sees_the_end_once(gateway, kernel):
    """Two windows of the owner's, and a user who may only read and awaits no reply."""
    kernel_id = await start(gateway, kernel, {"bob": "read"})
    async with (
        connected(gateway, "alice", kernel_id) as alice,
        connected(gateway, "alice", kernel_id, session="another") as window,
        connected(gateway, "bob", kernel_id, session="bobs") as bob,
    ):
        await until_watching(alice, window)
        await until_watching(alice, bob)
        request = await begin(alice, DIE)
        for client in (alice, window):
            assert errors(await messages_until(client, is_restarting), request) == ENDED
        seen = await messages_until(bob, is_restarting)
        assert errors(seen, request) == [ENDED[0], ENDED[2]]
    async with connected(gateway, "alice", kernel_id, session="a third") as later:
        request = await begin(later, "print(1)")
        assert WORDS not in json.dumps(await messages_until(later, is_end_of(request)))


@KERNELS
async def test_a_client_that_was_away_finds_its_cell_ended(gateway, kernel):
    kernel_id = await start(gateway, kernel)
    async with connected(gateway, "alice", kernel_id) as alice:
        await alice.execute("import time, os")
        request = await begin(alice, "time.sleep(0.5); os._exit(7)")
        await messages_until(alice, lambda message: status(message) == "busy")
    managed = gateway.app.kernel_manager.get_kernel(kernel_id)

    async def is_restarted():
        return managed.announcements._kept and managed.execution_state == "starting"

    await eventually(is_restarted)
    async with connected(gateway, "alice", kernel_id) as alice:
        messages = await messages_until(alice, is_end_of(request))
        assert errors(messages, request) == ENDED
    assert not managed.announcements._kept


@KERNELS
async def test_an_end_between_cells_is_shown_without_one(gateway, kernel):
    kernel_id = await start(gateway, kernel)
    code = "import os, threading; threading.Timer(0.5, os._exit, [7]).start()"
    async with connected(gateway, "alice", kernel_id) as alice:
        assert (await alice.execute(code)).status == "ok"
        messages = await messages_until(alice, is_restarting)
        texts = [each for each in messages if each["msg_type"] == "stream"]
        assert [each["content"] for each in texts] == [{"name": "stderr", "text": f"{WORDS}\n"}]
        assert texts[0]["parent_header"] == {}


@KERNELS
async def test_what_a_client_asks_for_is_not_announced(gateway, kernel, monkeypatch):
    kernel_id = await start(gateway, kernel)
    managed, announced = gateway.app.kernel_manager.get_kernel(kernel_id), []
    monkeypatch.setattr(managed.announcements, "announce", announced.append)
    async with connected(gateway, "alice", kernel_id) as alice:
        for end in (gateway.client.interrupt, gateway.client.restart):
            request = await begin(alice, "print(2, flush=True)\nwhile True: pass")
            await messages_until(alice, lambda message: message["msg_type"] == "stream")
            await end(kernel_id)
            if end == gateway.client.interrupt:
                await end_of(alice, request)
    assert announced == []


SHUT_DOWN = "A client is shutting the kernel down."


async def until_closed(client):
    """Return what comes until the gateway disconnects a client."""
    messages = []
    while True:
        try:
            messages.append(await client.receive())
        except ConnectionError:
            return messages


@KERNELS
async def test_a_shutdown_is_announced_to_all_clients(gateway, kernel):
    """One window runs a cell, the other has nothing to do, and a user watches."""
    kernel_id = await start(gateway, kernel, {"bob": "read"})
    async with (
        connected(gateway, "alice", kernel_id) as alice,
        connected(gateway, "alice", kernel_id, session="another") as window,
        connected(gateway, "bob", kernel_id, session="bobs") as bob,
    ):
        await until_watching(alice, window)
        await until_watching(alice, bob)
        request = await begin(alice, "print(2, flush=True)\nimport time; time.sleep(1000)")
        for client in (alice, window, bob):
            await messages_until(client, lambda message: message["msg_type"] == "stream")
        await gateway.client.delete(kernel_id)
        ends = [("error", SHUT_DOWN), ("execute_reply", SHUT_DOWN), ("status", "")]
        for client, expected in (alice, ends), (window, ends), (bob, [ends[0], ends[2]]):
            messages = await until_closed(client)
            assert errors(messages, request)[: len(expected)] == expected
            assert status(messages[-1]) == "dead"


async def test_a_shutdown_through_another_gateway_is_announced(gateway):
    kernel_id = await start(gateway)
    kernels = gateway.app.kernel_manager
    process = kernels.get_kernel(kernel_id).provisioner.process
    async with connected(gateway, "alice", kernel_id) as alice:
        request = await begin(alice, "print(2, flush=True)\nimport time; time.sleep(1000)")
        await messages_until(alice, lambda message: message["msg_type"] == "stream")
        await kernels.release(kernel_id, ended=True)
        messages = await until_closed(alice)
    words = "The kernel was shut down through another gateway."
    assert ("error", words) in errors(messages, request)
    assert status(messages[-1]) == "dead"
    process.kill()
    process.wait()


async def test_a_kernel_that_always_ends_stays_dead(gateway, monkeypatch):
    kernel_id = await start(gateway)
    kernel = gateway.app.kernel_manager.get_kernel(kernel_id)
    kernel._restarter.restart_limit = 0
    async with connected(gateway, "alice", kernel_id) as alice:
        request = await begin(alice, DIE)
        messages = await messages_until(alice, lambda message: status(message) == "dead")
        [(_, _, error)] = [each for each in of_cell(messages, request) if each[1] == "error"]
        assert error["evalue"].startswith(
            "The kernel exited with code 7. The kernel is not restarted any more"
        )


async def test_the_log_is_for_those_who_may_use_the_kernel(gateway, monkeypatch):
    kernel_id = await start(gateway, users={"bob": "read"})
    contract = type(gateway.app.kernel_manager.get_kernel(kernel_id)._contract)

    async def explain_end(_self):
        return KernelEnd(
            "The kernel needed more memory than its limit of 2Gi and was killed.",
            "a secret",
        )

    monkeypatch.setattr(contract, "explain_end", explain_end)
    monkeypatch.setattr(contract, "memory_advice", "Ask Ada.")
    async with (
        connected(gateway, "alice", kernel_id) as alice,
        connected(gateway, "bob", kernel_id, session="bobs") as bob,
    ):
        await until_watching(alice, bob)
        request = await begin(alice, DIE)
        [alices, bobs] = [
            next(content for _, kind, content in of_cell(messages, request) if kind == "error")
            for messages in [await messages_until(each, is_restarting) for each in (alice, bob)]
        ]
    words = (
        "The kernel needed more memory than its limit of 2Gi and was killed. "
        "The kernel is being restarted, without its variables. Ask Ada."
    )
    assert alices["traceback"] == [words, "The last lines of its log:", "a secret"]
    assert bobs["traceback"] == [words]
    assert alices["evalue"] == bobs["evalue"] == words


@KERNELS
async def test_a_kernel_is_shut_down_as_soon_as_it_has_ended(gateway, kernel):
    """As nbclient and papermill do at an error: the kernel is being restarted at that moment."""
    kernel_id = await start(gateway, kernel)
    async with connected(gateway, "alice", kernel_id) as alice:
        await begin(alice, DIE)
        await messages_until(alice, is_restarting)
        await gateway.client.delete(kernel_id)
    assert await gateway.client.kernels() == {}


@KERNELS
async def test_requests_after_an_end_wait_for_the_restart(gateway, kernel):
    """As papermill asks for the kernel's info at an error."""
    kernel_id = await start(gateway, kernel)
    async with connected(gateway, "alice", kernel_id) as alice:
        request = await begin(alice, DIE)
        await messages_until(alice, is_end_of(request))
        reply = await alice.request_reply("shell", "kernel_info_request", {})
        assert reply["status"] == "ok"


@KERNELS
async def test_cells_that_wait_for_the_one_that_ends_the_kernel_end_as_well(gateway, kernel):
    kernel_id = await start(gateway, kernel)
    async with connected(gateway, "alice", kernel_id) as alice:
        await begin(alice, DIE)
        waiting = await begin(alice, "1")
        messages = await messages_until(alice, is_restarting)
    [reply] = [each for each in of_cell(messages, waiting) if each[0] == "shell"]
    assert reply[2]["status"] == "error"
    assert reply[2]["evalue"] == WORDS
    assert ("iopub", "status", {"execution_state": "idle"}) in of_cell(messages, waiting)


async def test_nbclient_raises_the_cause(gateway, tmp_path, add_kernelspec):
    add_kernelspec("python3")
    cells = [nbformat.v4.new_code_cell(source) for source in ("print(1)", DIE, "print(3)")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    path = tmp_path / "notebook.ipynb"
    nbformat.write(notebook, path)
    with pytest.raises(AssertionError) as failure:
        await execute_notebook(path, gateway.client.url, gateway.client.token)
    assert "CellExecutionError" in str(failure.value)
    assert WORDS in str(failure.value)


async def test_a_jupyter_server_passes_the_cause_on(unused_tcp_port):
    async with (
        running_gateway() as gateway,
        jupyter_server(gateway, unused_tcp_port) as browser,
        browser.kernel("local") as kernel,
    ):
        request = await begin(kernel, DIE)
        assert errors(await messages_until(kernel, is_restarting), request) == ENDED


@KERNELS
async def test_a_page_that_connects_again_while_its_kernel_restarts(gateway, kernel):
    """As JupyterLab does when it sees the state `restarting`."""
    kernel_id = await start(gateway, kernel)
    async with connected(gateway, "alice", kernel_id) as alice:
        await begin(alice, DIE)
        await messages_until(alice, is_restarting)
    async with connected(gateway, "alice", kernel_id) as alice:
        reply = await alice.request_reply("shell", "kernel_info_request", {})
        assert reply["status"] == "ok"


@pytest.mark.parametrize("kernel", ["local", "launched"])
async def test_a_page_in_front_of_a_jupyter_server_connects_again(
    people,  # noqa: F811 - the fixture
    unused_tcp_port,
    launched_kernels,  # noqa: F811 - the fixture
    kernel,
):
    async with (
        running_gateway() as gateway,
        jupyter_server(gateway, unused_tcp_port) as browser,
    ):
        kernel_id = await browser.start(kernel)
        async with browser.channels(kernel_id, "a-page") as page:
            await begin(page, DIE)
            await messages_until(page, is_restarting)
            async with browser.channels(kernel_id, "a-page") as again:
                await page._websocket.close()
                reply = await again.request_reply("shell", "kernel_info_request", {})
                assert reply["status"] == "ok"
                assert (await again.execute("print(42)")).text == "42\n"


async def test_channels_without_a_message_since_a_restart_are_not_kept(gateway, monkeypatch):
    """A connection that is given them would miss what its first cell prints."""
    kernel_id = await start(gateway)
    kernels = gateway.app.kernel_manager
    async with connected(gateway, "alice", kernel_id) as alice:
        await alice.execute("1")
        with monkeypatch.context() as patch:
            patch.setattr(arrival.Arrival, "_has_arrived", lambda _self: asyncio.Event().wait())
            await kernels.restart_kernel(kernel_id)

    async def is_disconnected():
        return kernels._kernel_connections[kernel_id] == 0

    await eventually(is_disconnected)
    assert kernel_id not in kernels._kernel_buffers
    async with connected(gateway, "alice", kernel_id) as alice:
        assert (await alice.execute("print(42)")).text == "42\n"


async def test_channels_that_were_kept_before_a_restart_are_replaced(gateway):
    kernel_id = await start(gateway)
    kernels = gateway.app.kernel_manager
    async with connected(gateway, "alice", kernel_id) as alice:
        await alice.execute("1")

    async def is_kept():
        return kernel_id in kernels._kernel_buffers

    await eventually(is_kept)
    kept = kernels._kernel_buffers[kernel_id]["channels"]
    await kernels.restart_kernel(kernel_id)
    async with connected(gateway, "alice", kernel_id) as alice:
        assert (await alice.execute("print(42)")).text == "42\n"
        [connection] = GatewayWebsocketConnection.of_kernel(kernels.get_kernel(kernel_id))
        assert connection.channels["iopub"] is not kept["iopub"]


@KERNELS
async def test_a_restored_connection_follows_two_restarts(gateway, kernel):
    kernel_id = await start(gateway, kernel)
    kernels = gateway.app.kernel_manager
    for _ in range(2):
        async with connected(gateway, "alice", kernel_id) as alice:
            await alice.execute("1")
    async with connected(gateway, "alice", kernel_id) as alice:
        await kernels.restart_kernel(kernel_id)
        await kernels.restart_kernel(kernel_id)
        assert (await alice.execute("print(42)")).text == "42\n"
