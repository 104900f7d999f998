"""A kernel's messages while no gateway is connected reach the client in the end."""

import asyncio
import contextlib
import dataclasses

import pytest_asyncio

from api.provisioners import Launched, LaunchedSlowly
from api.running import running_gateway, until_followed
from api.test_api_jupyterlab import jupyter_server
from ci.gateway_client import Channels
from gateway_provisioners.gateway.kernels.kernel import GatewayKernel
from gateway_provisioners.gateway.websocket import client_activity, outbox
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from gateway_provisioners.handshake.payload import GatewayKey
from gateway_provisioners.handshake.response_server import ResponseServer
from timeouts import eventually, within_timeout

SESSION = "a-client-session"


@pytest_asyncio.fixture(autouse=True)
async def launched_kernels(add_provisioner, monkeypatch):
    """Add the kernelspec `launched`."""
    server = ResponseServer("127.0.0.1", 0, 0, GatewayKey.generate())
    await server.start()
    monkeypatch.setattr(Launched, "server", server, raising=False)
    add_provisioner("launched", Launched)
    yield
    await server.stop()


class GatewayChain:
    """Gateways that follow each other at one address, each adopting the kernels of the previous one."""

    def __init__(self, port):
        self.port = port
        self.gateway = None
        self._provisioners = []
        self._stack = contextlib.AsyncExitStack()

    async def next(self, **traits):
        """Start a gateway once the previous one has stopped."""
        if self.gateway is not None:
            self.gateway.app.request_stop()
            await self.gateway.stopped
        self.gateway = await self._stack.enter_async_context(
            running_gateway(port=self.port, **traits)
        )
        for earlier in self._provisioners:
            await self._adopt(earlier)
        return self.gateway

    async def start(self, **env):
        """Start a kernel; return its id."""
        kernel_id = await self.gateway.client.start("launched", **env)
        self._provisioners.append(self.gateway.app.kernel_manager.get_kernel(kernel_id).provisioner)
        return kernel_id

    async def _adopt(self, earlier):
        async def restore(provisioner):
            provisioner.adopt_from(earlier)

        await self.gateway.app.kernel_manager.adopt(
            kernel_id=earlier.kernel_id,
            kernel_name="launched",
            kernel_spec=earlier.kernel_spec,
            env={},
            last_activity="",
            started="",
            ownership=earlier.parent.ownership,
            restore=restore,
        )

    async def close(self):
        await self._stack.aclose()
        for provisioner in self._provisioners:  # of a kernel that no gateway adopted
            if provisioner.process is not None:
                provisioner.process.kill()
                await asyncio.to_thread(provisioner.process.wait)


@pytest_asyncio.fixture
async def chain(unused_tcp_port):
    """Run the first of several gateways."""
    chain = GatewayChain(unused_tcp_port)
    await chain.next()
    yield chain
    await chain.close()


@contextlib.asynccontextmanager
async def connected(gateway, kernel_id, session=SESSION):
    """Open the kernel's websocket, as a client that may come back."""
    url = f"{gateway.url}/api/kernels/{kernel_id}/channels?session_id={session}"
    async with gateway.client._session.ws_connect(url, max_msg_size=0) as websocket:
        yield Channels(websocket)


async def begin(channels, code):
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True}
    return await channels.send("shell", "execute_request", content)


async def end_of(channels, request):
    """Return the messages of a request in order, up to its reply and the kernel's state `idle`."""
    messages = []
    missing = {"execute_reply", "idle"}
    while missing:
        message = await channels.receive()
        if message["parent_header"].get("msg_id") == request:
            messages.append(message)
            missing.discard(message["content"].get("execution_state", message["msg_type"]))
    return messages


async def until_closed(channels):
    """Return the messages until the gateway closes the websocket, and its close code."""
    messages = []
    while True:
        try:
            messages.append(await channels.receive())
        except ConnectionError as closed:
            return messages, str(closed)


def printed(messages):
    return "".join(m["content"]["text"] for m in messages if m["msg_type"] == "stream")


async def test_a_client_has_one_connection_to_its_kernel_for_all_channels(chain):
    gateway, kernel_id = chain.gateway, await chain.start()
    async with connected(gateway, kernel_id) as channels:
        result = await channels.execute("print(input('?'))", answer="yes")
        assert (result.status, result.text) == ("ok", "yes\n")
        info = await channels.request_reply("control", "kernel_info_request", {})
        assert info["status"] == "ok"
        kernel = (await gateway.client.kernels())[kernel_id]
        assert (kernel["execution_state"], kernel["connections"]) == ("idle", 1)


async def test_several_clients_of_a_kernel_get_their_own_replies(chain):
    kernel_id = await chain.start()
    async with (
        connected(chain.gateway, kernel_id, "one") as one,
        connected(chain.gateway, kernel_id, "two") as two,
    ):
        await one.execute("x = 41")
        assert (await two.execute("x + 1")).data[0]["text/plain"] == "42"
        replies = [m for m in await end_of(one, await begin(one, "1")) if m["channel"] == "shell"]
        assert len(replies) == 1


async def test_an_execution_ends_at_the_next_gateway(chain):
    kernel_id = await chain.start()
    async with connected(chain.gateway, kernel_id) as channels:
        await channels.execute("kept = 'still here'")
        request = await begin(
            channels,
            "import time\nfor n in range(6): print(n, flush=True); time.sleep(0.3)\nkept",
        )
        stopping = asyncio.create_task(chain.next())
        before, closed = await until_closed(channels)
    assert "1001" in closed
    gateway = await stopping
    async with connected(gateway, kernel_id) as channels:
        after = await end_of(channels, request)
    messages = [m for m in before if m["parent_header"].get("msg_id") == request] + after
    assert printed(messages) == "0\n1\n2\n3\n4\n5\n"
    kinds = [m["msg_type"] for m in messages]
    assert kinds.count("execute_reply") == kinds.count("execute_result") == 1


async def test_a_busy_kernel_is_connected_to_at_once_and_shown_as_busy(chain):
    kernel_id = await chain.start()
    async with connected(chain.gateway, kernel_id) as channels:
        await channels.execute("1")
        request = await begin(channels, "while True: pass")
        while (await channels.receive())["msg_type"] != "execute_input":
            pass
    gateway = await chain.next()
    async with connected(gateway, kernel_id) as channels:
        state = "unknown"
        while state == "unknown":
            state = (await gateway.client.kernels())[kernel_id]["execution_state"]
        assert state == "busy"
        await gateway.client.interrupt(kernel_id)
        reply = [m for m in await end_of(channels, request) if m["msg_type"] == "execute_reply"]
        assert reply[0]["content"]["ename"] == "KeyboardInterrupt"


async def test_missed_messages_are_not_rate_limited(chain):
    """More than jupyter_server lets through at its usual rate."""
    kernel_id = await chain.start()
    async with connected(chain.gateway, kernel_id) as channels:
        request = await begin(channels, "for n in range(3500): print(n, flush=True)")
    gateway = await chain.next()
    async with connected(gateway, kernel_id, "another") as other:
        await other.execute("1")  # so the kernel has sent everything
    async with connected(gateway, kernel_id) as channels:
        text = printed(await end_of(channels, request))
    assert text == "".join(f"{n}\n" for n in range(3500))


async def test_the_cell_says_how_many_messages_were_dropped(chain):
    kernel_id = await chain.start(KERNEL_MAILBOX_BYTES="20000", KERNEL_MAILBOX_DISK_BYTES="0")
    async with connected(chain.gateway, kernel_id) as channels:
        await channels.execute("1")
        request = await begin(
            channels, "import time; time.sleep(1)\nfor n in range(500): print(n, flush=True)"
        )
    async with connected(chain.gateway, kernel_id, "another") as other:
        await other.execute("1")
    async with connected(chain.gateway, kernel_id) as channels:
        text = printed(await end_of(channels, request))
    assert "of this cell" in text.splitlines()[0]
    assert text.endswith("498\n499\n")
    assert "\n0\n" not in text


async def test_a_client_that_reads_nothing_is_sent_away_and_misses_nothing(chain, monkeypatch):
    kernel_id = await chain.start()
    kernel = chain.gateway.app.kernel_manager.get_kernel(kernel_id)
    with monkeypatch.context() as impatient:
        impatient.setattr(outbox, "STALLED_SECONDS", 0.5)
        async with connected(chain.gateway, kernel_id) as channels:
            transport = channels._websocket._response.connection.transport
            transport.pause_reading()
            await begin(channels, "for n in range(60): print(str(n) + ' ' * 10**6)")

            async def was_sent_away():
                return not GatewayWebsocketConnection.of_kernel(kernel)

            await eventually(was_sent_away)
            transport.resume_reading()
            messages, _ = await until_closed(channels)
    async with connected(chain.gateway, kernel_id) as channels:
        while messages[-1]["content"].get("execution_state") != "idle":
            messages.append(await channels.receive())
    assert [int(word) for word in printed(messages).split()] == list(range(60))


async def test_the_state_of_a_kernel_that_publishes_much_is_followed(chain):
    figures = "from IPython.display import publish_display_data\nfor _ in range(60):\n    "
    figures += "publish_display_data({'text/plain': 'x' * 10**6})"
    kernel_id = await chain.start()
    kernel = chain.gateway.app.kernel_manager.get_kernel(kernel_id)
    async with connected(chain.gateway, kernel_id) as channels:
        await until_followed(kernel, channels)
        for code in (figures, figures, "1"):
            await channels.execute(code)
        limits = chain.gateway.app.kernel_manager.limits

        async def is_all_memory_free():
            return kernel.execution_state == "idle" and not limits.buffers.held + limits.large.held

        await eventually(is_all_memory_free)
        await begin(channels, "input()")

        async def is_busy():
            return kernel.execution_state == "busy"

        await eventually(is_busy)


async def test_a_client_without_a_session_leaves_no_mailbox(chain):
    """Its mailbox would take the place of others."""
    kernel_id = await chain.start()
    async with connected(chain.gateway, kernel_id) as kept:
        request = await begin(kept, "print('kept')")
    for _ in range(40):
        async with chain.gateway.client.channels(kernel_id) as channels:
            await channels.execute("1")
    async with connected(chain.gateway, kernel_id) as kept:
        assert printed(await end_of(kept, request)) == "kept\n"


async def test_a_second_connection_of_a_session_replaces_the_first(chain):
    kernel_id = await chain.start()
    async with connected(chain.gateway, kernel_id) as first:
        await first.execute("1")
        async with connected(chain.gateway, kernel_id) as second:
            await until_closed(first)
            assert (await second.execute("print(2)")).text == "2\n"


class Proxy:
    """Forwards connections to a port of this machine, and can break them."""

    def __init__(self, port):
        self._target = port
        self._writers = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.break_connections()
        self._server.close()
        await self._server.wait_closed()

    def break_connections(self):
        """Abort every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connect(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]
        await asyncio.gather(self._forward(reader, far_writer), self._forward(far_reader, writer))

    async def _forward(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(2**16):
                writer.write(data)
        writer.close()


async def test_a_broken_connection_to_the_pod_loses_nothing(chain):
    kernel_id = await chain.start()
    (provisioner,) = chain._provisioners
    async with Proxy(provisioner.mailbox.port) as proxy:
        provisioner.mailbox = dataclasses.replace(provisioner.mailbox, port=proxy.port)
        async with connected(chain.gateway, kernel_id) as channels:
            request = await begin(
                channels,
                "import time\nfor n in range(600): print(n, flush=True); time.sleep(0.002)",
            )
            text = ""
            for line in ("100\n", "300\n"):
                while line not in text:
                    text += printed([await channels.receive()])
                proxy.break_connections()
            text += printed(await end_of(channels, request))
    assert text == "".join(f"{n}\n" for n in range(600))


async def test_clients_see_that_a_dead_kernel_was_restarted(chain):
    kernel_id = await chain.start()
    async with connected(chain.gateway, kernel_id) as channels:
        await begin(channels, "import os; os._exit(3)")
        states = []
        while "restarting" not in states or states[-1] != "idle":
            message = await channels.receive()
            if message["msg_type"] == "status":
                states.append(message["content"]["execution_state"])
        assert (await channels.execute("print('alive')")).text == "alive\n"


async def test_clients_follow_a_restart(chain):
    kernel_id = await chain.start()
    async with connected(chain.gateway, kernel_id) as channels:
        await channels.execute("x = 1")
        await chain.gateway.client.restart(kernel_id)
        assert (await channels.execute("x")).error == "NameError"


async def test_stopping_disconnects_waiting_clients_first_then_quiet_ones(chain):
    kernel_id = await chain.start()
    async with (
        connected(chain.gateway, kernel_id, "waits") as waits,
        connected(chain.gateway, kernel_id, "quiet") as quiet,
    ):
        request = await begin(waits, "input()")
        while (await waits.receive())["msg_type"] != "input_request":
            pass
        stopping = asyncio.create_task(chain.next(drain_seconds=60))
        closed = [asyncio.create_task(until_closed(c)) for c in (waits, quiet)]
        done, _ = await asyncio.wait(closed, return_when=asyncio.FIRST_COMPLETED)
        assert done == {closed[0]}
        await closed[1]
    gateway = await stopping
    async with connected(gateway, kernel_id, "waits") as waits:
        parent = {"msg_id": request, "msg_type": "execute_request"}
        await waits.send("stdin", "input_reply", {"value": "x"}, parent)
        assert "execute_reply" in [m["msg_type"] for m in await end_of(waits, request)]


async def test_stopping_disconnects_an_active_client_when_it_waits(chain, monkeypatch):
    monkeypatch.setattr(client_activity, "_QUIET_SECONDS", 1000)
    kernel_id = await chain.start()
    async with connected(chain.gateway, kernel_id) as channels:
        await channels.execute("1")
        stopping = asyncio.create_task(chain.next())
        (connection,) = GatewayWebsocketConnection.of_kernel(
            chain.gateway.app.kernel_manager.get_kernel(kernel_id)
        )
        while connection._activity._noted.is_set():  # noqa: ASYNC110 - until it waits for activity
            await asyncio.sleep(0)
        # Longer than the gateway takes to notice: after an earlier reply it would wait for more activity.
        request = await begin(channels, "import time; time.sleep(1); print('late')")
        before, _ = await until_closed(channels)
    gateway = await stopping
    async with connected(gateway, kernel_id) as channels:
        own = [m for m in before if m["parent_header"].get("msg_id") == request]
        replied = {m["msg_type"] for m in own} & {"execute_reply"}
        assert not replied
        assert printed(own + await end_of(channels, request)) == "late\n"


async def test_stopping_waits_for_an_idle_kernel_if_it_has_no_mailbox(
    add_provisioner, monkeypatch, tmp_path
):
    monkeypatch.setattr(client_activity, "_QUIET_SECONDS", 2)
    async with running_gateway(drain_seconds=60) as gateway:
        kernel_id = await gateway.client.start("local")
        async with gateway.client.channels(kernel_id) as channels:
            kernel = gateway.app.kernel_manager.get_kernel(kernel_id)
            await until_followed(kernel, channels)
            may_end = tmp_path / "may-end"
            wait = f"import os, time\nwhile not os.path.exists({str(may_end)!r}): time.sleep(0.01)"
            request = await begin(channels, f"{wait}\nprint('done')")
            while (await channels.receive())["msg_type"] != "execute_input":
                pass

            async def is_busy():
                return kernel.execution_state == "busy"

            await eventually(is_busy)
            gateway.app.request_stop()
            may_end.touch()
            messages, _ = await until_closed(channels)
        own = [m for m in messages if m["parent_header"].get("msg_id") == request]
        assert printed(own) == "done\n"
        assert "execute_reply" in [m["msg_type"] for m in own]


async def test_a_notebook_runs_to_its_end_across_gateway_restarts(chain, unused_tcp_port_factory):
    """A stock Jupyter server, which connects again by itself, and a client that never pauses."""
    async with jupyter_server(chain.gateway, unused_tcp_port_factory()) as browser:
        kernel_id = await browser.start("launched")
        manager = chain.gateway.app.kernel_manager
        chain._provisioners.append(manager.get_kernel(kernel_id).provisioner)
        seen = []
        enough = {count: asyncio.Event() for count in (10, 30)}
        async with browser.channels(kernel_id) as channels:
            await channels.execute("n = 0")

            async def run_cells():
                while len(seen) < 60:
                    result = await channels.execute(
                        "n += 1; print(n); __import__('time').sleep(.1)"
                    )
                    assert result.status == "ok"
                    seen.append(result.text)
                    if len(seen) in enough:
                        enough[len(seen)].set()

            cells = asyncio.create_task(run_cells())
            for count in enough:
                await enough[count].wait()
                await chain.next()
            await cells
        assert seen == [f"{n}\n" for n in range(1, 61)]


async def test_a_client_of_a_dead_kernel_waits_for_its_restart(add_provisioner, monkeypatch):
    add_provisioner("slowly", LaunchedSlowly)
    LaunchedSlowly.lives, LaunchedSlowly.go_on, checked = (
        asyncio.Event(),
        asyncio.Event(),
        asyncio.Event(),
    )
    is_alive = GatewayKernel.is_alive

    async def is_alive_recorded(kernel):
        alive = await is_alive(kernel)
        if not alive:
            checked.set()
        return alive

    async def execute():
        async with gateway.client.channels(kernel_id) as channels:
            return (await channels.execute("print(1)")).text

    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("slowly")
        kernel = gateway.app.kernel_manager.get_kernel(kernel_id)
        kernel.stop_restarter()
        kernel.provisioner.process.kill()
        await asyncio.to_thread(kernel.provisioner.process.wait)
        monkeypatch.setattr(GatewayKernel, "is_alive", is_alive_recorded)
        executing = asyncio.create_task(execute())
        await checked.wait()
        restarting = asyncio.create_task(gateway.client.restart(kernel_id))
        await LaunchedSlowly.lives.wait()
        await asyncio.sleep(0.2)  # twice the interval of upstream's checks
        LaunchedSlowly.go_on.set()
        assert await within_timeout(executing) == "1\n"
        await restarting
        await gateway.client.delete(kernel_id)
