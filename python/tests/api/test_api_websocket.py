"""The connection between a client's websocket and its kernel."""

import asyncio
import gc
import os
import signal
import socket
import sys
import weakref

import aiohttp
import pytest
from kernel_gateway.gatewayapp import KernelGatewayApp
from tornado.ioloop import IOLoop

from api.provisioners import Moving
from api.running import TOKEN, running_gateway
from api.test_api_attacks_clients import connect, frame
from ci.gateway_client import Channels, Gateway
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from timeouts import eventually, within_timeout


def nodelay(sock):
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_messages_do_not_wait_for_acknowledgements(gateway):
    async with gateway.client.kernel("local") as channels:
        await channels.execute("1")
        assert [nodelay(sock) for sock in gateway.sockets()] == [True]


async def test_several_clients_share_a_kernel(gateway):
    async with (
        gateway.client.kernel("local") as first,
        gateway.client.channels(first.kernel_id) as second,
    ):
        await first.execute("x = 41")
        assert (await second.execute("x + 1")).data[0]["text/plain"] == "42"
        kernel = (await gateway.client.kernels())[first.kernel_id]
        assert kernel["connections"] == 2


async def test_a_returning_client_gets_missed_messages(gateway):
    kernel_id = await gateway.client.start("local")
    url = f"{gateway.url}/api/kernels/{kernel_id}/channels?session_id=same"
    async with gateway.client._session.ws_connect(url) as websocket:
        await websocket.send_json(
            {
                "channel": "shell",
                "header": {"msg_id": "1", "msg_type": "execute_request", "session": "same"},
                "parent_header": {},
                "metadata": {},
                "content": {"code": "print('missed')", "silent": False},
                "buffers": [],
            }
        )
    async with gateway.client._session.ws_connect(url) as websocket:
        async for message in websocket:
            if message.json()["msg_type"] == "stream":
                assert message.json()["content"]["text"] == "missed\n"
                break


async def test_of_two_websockets_of_a_session_the_later_one_stays(gateway, monkeypatch):
    """Stock Jupyter servers forget a websocket that their browser closes while it is being opened."""
    kernel_id = await gateway.client.start("local")
    url = f"{gateway.url}/api/kernels/{kernel_id}/channels?session_id=same"
    ask = GatewayWebsocketConnection.request_kernel_info
    held = []

    def request_kernel_info(connection):
        if held:
            return ask(connection)
        held.append(asyncio.get_running_loop().create_future())
        return held[0]

    monkeypatch.setattr(GatewayWebsocketConnection, "request_kernel_info", request_kernel_info)

    async def is_held():
        return held

    session = gateway.client._session
    forgotten = asyncio.create_task(within_timeout(session.ws_connect(url)))
    await eventually(is_held)
    async with session.ws_connect(url) as websocket:
        held[0].set_result({})
        with pytest.raises(aiohttp.WSServerHandshakeError, match="409"):
            await forgotten
        assert (await Channels(websocket).execute("1")).status == "ok"


async def test_a_late_subscription_does_not_cost_half_a_second(gateway, monkeypatch):
    create_stream, call_later = GatewayWebsocketConnection.create_stream, IOLoop.call_later

    def subscribe_late(connection):
        create_stream(connection)
        iopub = connection.channels["iopub"]
        iopub.socket.unsubscribe(b"")
        asyncio.get_running_loop().call_later(0.02, iopub.socket.subscribe, b"")

    def call_later_without_upstreams_retry(loop, delay, *args, **kwargs):
        return call_later(loop, 1000 if delay == 0.5 else delay, *args, **kwargs)

    monkeypatch.setattr(GatewayWebsocketConnection, "create_stream", subscribe_late)
    monkeypatch.setattr(IOLoop, "call_later", call_later_without_upstreams_retry)
    async with gateway.client.kernel("local") as channels:
        assert (await channels.execute("print(1)")).text == "1\n"


async def test_output_without_a_client_is_bounded(monkeypatch):
    monkeypatch.setenv("GP_OFFLINE_BUFFER_BYTES", "20000")
    async with running_gateway() as gateway, gateway.client.kernel("local") as other:
        url = (
            f"{gateway.url}/api/kernels/{await gateway.client.start('local')}/channels?session_id=s"
        )
        async with gateway.client._session.ws_connect(url) as websocket:
            channels = Channels(websocket)
            await channels.execute("import sys")
            await channels.send(
                "shell",
                "execute_request",
                {"code": "for n in range(500): print(n, flush=True)", "silent": False},
            )
        while len(gateway.app.kernel_manager._kernel_buffers) == 0:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await other.execute("1")
        (buffered,) = gateway.app.kernel_manager._kernel_buffers.values()
        while not buffered["buffer"].losses:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        async with gateway.client._session.ws_connect(url) as websocket:
            text = ""
            while "were dropped" not in text:
                message = await Channels(websocket).receive()
                if message["msg_type"] == "stream":
                    text += message["content"]["text"]
            assert "\n0\n" not in text


async def test_an_unresponsive_kernel_does_not_block_others(add_kernelspec):
    add_kernelspec("silent", argv=[sys.executable, "-c", "import time; time.sleep(1000)"])
    async with running_gateway() as gateway, gateway.client.kernel("local") as other:
        gateway.app.kernel_manager.kernel_info_timeout = 0.2
        kernel_id = await gateway.client.start("silent")
        async with gateway.client.channels(kernel_id):
            assert (await other.execute("print(1)")).text == "1\n"
        await gateway.app.kernel_manager.shutdown_kernel(kernel_id, now=True)


async def test_clients_follow_a_kernel_that_a_restart_moves(add_provisioner):
    add_provisioner("moving", Moving)
    async with (
        running_gateway() as gateway,
        gateway.client.kernel("moving") as first,
        gateway.client.channels(first.kernel_id) as second,
    ):
        await first.execute("x = 1")
        kernel = gateway.app.kernel_manager.get_kernel(first.kernel_id)
        before = kernel.ports
        await gateway.client.restart(first.kernel_id)
        assert kernel.ports != before
        for channels in (first, second):
            assert (await channels.execute("x")).error == "NameError"

        async def is_idle():
            kernels = await gateway.client.kernels()
            return kernels[first.kernel_id]["execution_state"] == "idle"

        # The gateway learns of it on a connection of its own, perhaps later than the clients.
        await eventually(is_idle)


async def test_a_returning_client_finds_a_kernel_that_moved(add_provisioner):
    add_provisioner("moving", Moving)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("moving")
        url = f"{gateway.url}/api/kernels/{kernel_id}/channels?session_id=same"
        async with gateway.client._session.ws_connect(url):
            pass
        while kernel_id not in gateway.app.kernel_manager._kernel_buffers:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await gateway.client.restart(kernel_id)
        async with gateway.client._session.ws_connect(url) as websocket:
            assert (await Channels(websocket).execute("print(1)")).text == "1\n"


async def test_an_invalid_message_closes_only_its_websocket(gateway):
    async with gateway.client.kernel("local") as channels:
        url = f"{gateway.url}/api/kernels/{channels.kernel_id}/channels"
        async with gateway.client._session.ws_connect(url) as websocket:
            await websocket.send_str("not a message")
            assert (await websocket.receive()).type in (
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
            )
        assert (await channels.execute("print(1)")).text == "1\n"


def send_ping_without_an_answer(handler):
    """Have the gateway send its next ping, as if it had long had no answer."""
    handler.last_ping = IOLoop.current().time()
    handler.last_pong = handler.last_ping - 2 * handler.ping_timeout / 1000
    handler.send_ping()


def handler_of(gateway, kernel_id):
    kernel = gateway.app.kernel_manager.get_kernel(kernel_id)
    (connection,) = GatewayWebsocketConnection.of_kernel(kernel)
    return connection.websocket_handler


async def test_a_client_that_answers_no_ping_is_disconnected(gateway):
    async with gateway.client.kernel("local") as channels:
        await channels.execute("1")
        send_ping_without_an_answer(handler_of(gateway, channels.kernel_id))
        with pytest.raises(ConnectionError):
            await channels.execute("1")


async def test_a_client_that_was_too_slow_gives_its_memory_back(gateway):
    large = gateway.app.kernel_manager.limits.large

    async def is_held():
        return large.held

    async def is_free():
        return not large.held

    kernel_id = await gateway.client.start("local")
    client = await connect(gateway, kernel_id)
    await client.write(frame(0x01, b"x" * 2**20, announced=31 * 2**20))
    await eventually(is_held)
    client.stop_reading()  # it does not answer the close either
    handler_of(gateway, kernel_id).on_too_slow()
    await eventually(is_free)
    client.abort()


async def test_a_client_that_was_sent_away_learns_that_output_is_lost(gateway):
    async with gateway.client.kernel("local") as channels:
        await channels.execute("1")
        handler_of(gateway, channels.kernel_id).connection.send_away()
        async with gateway.client.channels(channels.kernel_id) as again:
            said = await again.receive()
            while said["header"]["msg_type"] != "stream":
                said = await again.receive()
    assert said["content"]["text"].startswith("This client read too slowly and was disconnected: ")
    assert said["parent_header"]["msg_type"] == "execute_request"


async def test_a_connection_that_is_being_closed_takes_no_ping(gateway):
    async with gateway.client.kernel("local") as channels:
        handler = handler_of(gateway, channels.kernel_id)
        handler.ws_connection.stream.close()  # as after a reset, of which tornado informs the handler later
        handler.send_ping()


async def test_a_client_that_reads_slowly_needs_no_pong(gateway):
    async with gateway.client.kernel("local") as channels:
        handler = handler_of(gateway, channels.kernel_id)
        transport = channels._websocket._response.connection.transport
        transport.pause_reading()
        code = (
            "from IPython.display import publish_display_data\n"
            "for n in range(20): publish_display_data({'text/plain': 'x' * 10**6})"
        )
        executed = asyncio.create_task(channels.execute(code))

        async def waits():
            return handler.connection.is_reading

        await eventually(waits)
        send_ping_without_an_answer(handler)
        transport.resume_reading()
        assert len((await executed).data) == 20


async def test_a_client_that_waits_for_its_kernel_needs_no_pong(gateway):
    async with gateway.client.kernel("local") as channels:
        pid = int((await channels.execute("import os; print(os.getpid())")).text)
        handler = handler_of(gateway, channels.kernel_id)
        os.kill(pid, signal.SIGSTOP)
        try:
            content = {"code": "print(1)", "silent": False, "more": "x" * 20_000_000}
            await channels.send("shell", "execute_request", content)

            async def waits():
                return handler._is_paused

            await eventually(waits)
            send_ping_without_an_answer(handler)
        finally:
            os.kill(pid, signal.SIGCONT)
        while (message := await channels.receive())["msg_type"] != "stream":
            pass
        assert message["content"]["text"] == "1\n"


async def test_the_connection_class_works_in_plain_kernel_gateway(monkeypatch):
    monkeypatch.setattr(KernelGatewayApp, "init_signal", lambda self: None)
    app = KernelGatewayApp(
        ip="127.0.0.1",
        port=0,
        auth_token=TOKEN,
        default_kernel_name="local",
        kernel_websocket_connection_class=GatewayWebsocketConnection,
    )
    app.initialize([])
    await app.personality.init_configurables()
    (listening,) = app.http_server._sockets.values()
    url = "http://{}:{}".format(*listening.getsockname())
    try:
        async with Gateway(url, TOKEN) as client, client.kernel("local") as channels:
            assert (await channels.execute("print(1)")).text == "1\n"
            kernel = app.kernel_manager.get_kernel(channels.kernel_id)
            (connection,) = GatewayWebsocketConnection.of_kernel(kernel)
            assert nodelay(connection.websocket_handler.ws_connection.stream.socket)
    finally:
        app.http_server.stop()
        await app.http_server.close_all_connections()


async def test_a_message_that_is_cut_off_takes_no_memory(gateway):
    class Message(bytearray):
        """Can be referred to weakly."""

    kernel_id = await gateway.client.start("local")
    client = await connect(gateway, kernel_id)
    [connection] = GatewayWebsocketConnection.of_kernel(
        gateway.app.kernel_manager.get_kernel(kernel_id)
    )
    handler = connection.websocket_handler  # as a timer may keep it for a while
    client.abort()
    await asyncio.sleep(0)  # the client's socket is closed now, and the gateway has not looked
    message = Message(2**22)
    remaining = weakref.ref(message)
    connection.output.outbox.write([message], binary=True)
    del message

    async def is_forgotten():
        gc.collect()
        return remaining() is None

    await eventually(is_forgotten)
    assert handler.ws_connection is None
