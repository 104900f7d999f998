"""Websockets of users who share a kernel, and of users whose credential ends."""

import asyncio
import contextlib
import json
import time

import pytest
import pytest_asyncio

from api.provisioners import Moving
from api.running import TOKEN, running_gateway, until_followed
from api.test_api_jupyterlab import jupyter_server
from api.test_api_mailbox import (  # noqa: F401 - a fixture
    GatewayChain,
    begin,
    end_of,
    launched_kernels,
    printed,
    until_closed,
)
from ci.gateway_client import Channels, Gateway, Refused
from gateway_provisioners.gateway import app
from gateway_provisioners.gateway.http import credential_watch
from gateway_provisioners.gateway.identity.identity import (
    Identity,
    IdentityUnavailable,
    NotIdentified,
)
from gateway_provisioners.gateway.identity.methods.tokens import SharedToken
from gateway_provisioners.gateway.websocket import serialization
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from gateway_provisioners.model.ownership import Access
from timeouts import eventually

SESSION = "a-client-session"
READ_ONLY = (
    "This kernel of alice is shared with you read-only: ask its owner to share it with full access."
)
KERNELS = pytest.mark.parametrize("kernel", ["local", "launched"])


class People:
    """A method whose users change while the gateway runs; a user's token is `token-of-NAME`."""

    name = "people"
    order = 10

    def __init__(self):
        self.identities = {name: Identity(name) for name in ("alice", "bob", "carol")}
        self.error = None

    def fits(self, credential):
        return credential.token.startswith("token-of-")

    async def identify(self, credential):
        if self.error is not None:
            raise self.error
        identity = self.identities.get(credential.token.removeprefix("token-of-"))
        if identity is None:
            raise NotIdentified("The token is unknown.")
        return identity

    async def refresh(self): ...

    async def close(self): ...


@pytest.fixture
def people(monkeypatch):
    """The users of all gateways; the shared token is the administrators'."""
    people = People()
    monkeypatch.setattr(app, "build_methods", lambda *_: [people, SharedToken(TOKEN)])
    return people


@pytest_asyncio.fixture
async def gateway(people):
    async with running_gateway() as gateway:
        yield gateway


@pytest_asyncio.fixture
async def chain(people, unused_tcp_port):
    chain = GatewayChain(unused_tcp_port)
    await chain.next()
    yield chain
    await chain.close()


@contextlib.asynccontextmanager
async def connected(gateway, user, kernel_id, session=SESSION, **options):
    """Open the kernel's websocket as a user."""
    url = f"{gateway.url}/api/kernels/{kernel_id}/channels?session_id={session}"
    async with (
        Gateway(gateway.url, f"token-of-{user}") as client,
        client._session.ws_connect(url, max_msg_size=0, **options) as websocket,
    ):
        yield Channels(websocket)


async def start(gateway, kernel="local", users=(), groups=()):
    """Start a kernel of alice's that is shared; return its id."""
    async with Gateway(gateway.url, "token-of-alice") as client:
        kernel_id = await client.start(kernel)
    await share(gateway, kernel_id, users, groups)
    return kernel_id


async def share(gateway, kernel_id, users=(), groups=()):
    body = {"share": {"users": dict(users), "groups": dict(groups)}}
    async with Gateway(gateway.url, "token-of-alice") as client:
        await client.request("PATCH", f"/api/kernels/{kernel_id}", body)


async def until_watching(user, reader):
    """Have the kernel publish until it arrives at a reader, who is connected without waiting for that."""
    arrived = asyncio.create_task(reader.receive())
    while not arrived.done():
        await user.execute("0")


def connections_of(gateway, kernel_id):
    return GatewayWebsocketConnection.of_kernel(gateway.app.kernel_manager.get_kernel(kernel_id))


async def messages_until(channels, condition):
    """Return the messages up to the first one that the condition is true for."""
    messages = []
    while not messages or not condition(messages[-1]):
        messages.append(await channels.receive())
    return messages


def is_refused(request):
    """Return whether a message ends a request that was not passed on."""
    return lambda message: (
        message["parent_header"].get("msg_id") == request
        and message["content"].get("execution_state") == "idle"
    )


@KERNELS
async def test_a_reader_sees_what_the_owners_cell_prints(gateway, kernel):
    kernel_id = await start(gateway, kernel, {"bob": "read"})
    async with (
        connected(gateway, "alice", kernel_id) as alice,
        connected(gateway, "bob", kernel_id) as bob,
    ):
        await until_watching(alice, bob)
        request = await begin(alice, "print('out')")
        seen = await messages_until(bob, is_refused(request))
        of_cell = [m for m in seen if m["parent_header"].get("msg_id") == request]
        assert printed(of_cell) == "out\n"
        assert {m["channel"] for m in seen} == {"iopub"}


@KERNELS
async def test_a_reader_learns_what_kernel_it_is(gateway, kernel):
    kernel_id = await start(gateway, kernel, {"bob": "read"})
    async with connected(gateway, "bob", kernel_id) as bob:
        for channel in ("shell", "control", "shell"):
            info = await bob.request_reply(channel, "kernel_info_request", {})
            assert (info["status"], info["language_info"]["name"]) == ("ok", "python")
            # JupyterLab would send requests for them, which are refused.
            assert (info["debugger"], info["supported_features"]) == (False, [])


@pytest.mark.attack(15)
@KERNELS
async def test_a_reader_cannot_execute(gateway, kernel):
    kernel_id = await start(gateway, kernel, {"bob": "read"})
    async with (
        connected(gateway, "alice", kernel_id) as alice,
        connected(gateway, "bob", kernel_id) as bob,
    ):
        result = await bob.execute("x = 1")
        assert (result.status, result.text) == ("error", f"{READ_ONLY}\n")
        assert (await alice.execute("x")).error == "NameError"


REQUESTS = [
    ("shell", "complete_request"),
    ("shell", "inspect_request"),
    ("shell", "history_request"),
    ("shell", "is_complete_request"),
    ("shell", "comm_info_request"),
    ("shell", "shutdown_request"),
    ("control", "execute_request"),
    ("control", "shutdown_request"),
    ("control", "interrupt_request"),
    ("control", "debug_request"),
    ("control", "create_subshell_request"),
    ("stdin", "execute_request"),
]


@pytest.mark.attack(15)
@KERNELS
async def test_a_readers_requests_do_not_reach_the_kernel(gateway, kernel):
    kernel_id = await start(gateway, kernel, {"bob": "read"})
    async with (
        connected(gateway, "alice", kernel_id) as alice,
        connected(gateway, "bob", kernel_id) as bob,
    ):
        sent = set()
        for channel, kind in REQUESTS:
            request = await bob.send(channel, kind, {"code": "x = 1", "cursor_pos": 1})
            sent.add(request)
            messages = await messages_until(bob, is_refused(request))
            (reply,) = (m for m in messages if m["channel"] == channel)
            assert reply["msg_type"] == kind.replace("request", "reply")
            assert reply["content"]["evalue"] == READ_ONLY
            assert printed(messages) == (f"{READ_ONLY}\n" if kind == "execute_request" else "")
        for channel, kind in (("shell", "comm_msg"), ("stdin", "input_reply"), ("iopub", "status")):
            request = await bob.send(channel, kind, {"comm_id": "c", "data": {}, "value": ""})
            sent.add(request)
            said = (await messages_until(bob, lambda m: m["msg_type"] == "stream"))[-1]
            assert (said["content"]["text"], said["parent_header"]["msg_id"]) == (
                f"{READ_ONLY}\n",
                request,
            )
        # The kernel publishes the header of every request that it takes.
        request = await begin(alice, "print('alive')")
        messages = await end_of(alice, request)
        assert printed(messages) == "alive\n"
        for message in messages:
            assert message["parent_header"].get("msg_id") not in sent


@pytest.mark.attack(15)
@pytest.mark.parametrize("protocols", [(), (serialization.V1,)])
async def test_no_header_makes_a_readers_request_pass(gateway, protocols):
    """JSON parsers differ in what they make of these."""
    kernel_id = await start(gateway, "local", {"bob": "read"})
    headers = [
        b'{"msg_id": "1", "msg_type": "execute_request", "msg_type": "kernel_info_request"}',
        b'{"msg_id": "2", "msg_type": "kernel_info_request", "msg_type": "execute_request"}',
        b'{"msg_id": "3", "msg_type": "kernel_info_request", "msg_type\\u0000": "execute_request"}',
        b'{"msg_id": "4", "msg_type": ["execute_request"]}',
        b'{"msg_id": "5", "msg_type": "execute_request", "x": NaN}',
        b'{"msg_id": "6", "msg_type": "' + b"x" * 70_000 + b'"}',
        b"{}",
        b"null",
    ]
    content = b'{"code": "open(\'made\', \'w\')", "silent": false}'
    async with (
        connected(gateway, "alice", kernel_id) as alice,
        connected(gateway, "bob", kernel_id, protocols=protocols) as bob,
    ):
        for header in headers:
            if protocols:
                message = serialization.to_v1("shell", [header, b"{}", b"{}", content])
                await bob._websocket.send_bytes(b"".join(message))
            else:
                text = b'{"channel": "shell", "header": %s, "content": %s}' % (header, content)
                await bob._websocket.send_str(text.decode())
        if not protocols:
            await bob.request_reply("shell", "kernel_info_request", {})
        result = await alice.execute("import os; print(os.path.exists('made'))")
        assert result.text == "False\n"


@pytest.mark.attack(15)
async def test_a_readers_request_cannot_pass_for_the_owners_cell(gateway):
    kernel_id = await start(gateway, "local", {"bob": "read"})
    async with (
        connected(gateway, "alice", kernel_id) as alice,
        connected(gateway, "bob", kernel_id) as bob,
    ):
        await until_watching(alice, bob)
        request = await begin(alice, "input()")
        asked = await messages_until(alice, lambda m: m["msg_type"] == "input_request")
        forged = {"msg_id": request, "msg_type": "kernel_info_request", "session": SESSION}
        for channel in ("shell", "control"):
            await bob._websocket.send_json({"channel": channel, "header": forged, "content": {}})
            await messages_until(bob, lambda m: m["msg_type"] == "kernel_info_reply")
        await alice.send("stdin", "input_reply", {"value": "1"}, asked[-1]["header"])
        ended = await end_of(alice, request)
        states = [m["content"]["execution_state"] for m in ended if m["msg_type"] == "status"]
        assert states == ["idle"]
        assert "kernel_info_reply" not in [m["msg_type"] for m in ended]


async def test_a_reader_sees_that_the_kernel_is_busy(gateway):
    kernel_id = await start(gateway, "local", {"bob": "read"})
    async with (
        connected(gateway, "alice", kernel_id) as alice,
        connected(gateway, "bob", kernel_id) as bob,
    ):
        await until_watching(alice, bob)
        kernel = gateway.app.kernel_manager.get_kernel(kernel_id)
        await until_followed(kernel, alice)
        await begin(alice, "input()")

        async def is_busy():
            return kernel.execution_state == "busy"

        await eventually(is_busy)
        await bob.send("shell", "kernel_info_request", {})
        await messages_until(bob, lambda m: m["msg_type"] == "kernel_info_reply")
        states = [await bob.receive() for _ in range(2)]
        assert [m["content"]["execution_state"] for m in states] == ["idle", "busy"]


async def test_readers_do_not_count_as_connections(gateway):
    """Otherwise watching would keep an idle kernel alive."""
    kernel_id = await start(gateway, "local", {"bob": "read"})
    async with (
        connected(gateway, "alice", kernel_id),
        connected(gateway, "bob", kernel_id),
    ):
        assert len(connections_of(gateway, kernel_id)) == 2
        assert (await gateway.client.kernels())[kernel_id]["connections"] == 1


@KERNELS
async def test_readers_do_not_cost_the_owner_what_is_kept(gateway, kernel):
    """A kernel has 32 mailboxes, and the gateway's own buffer is that of one client."""
    kernel_id = await start(gateway, kernel, {"bob": "read"})
    async with connected(gateway, "alice", kernel_id, "owners") as alice:
        await alice.execute("1")
        request = await begin(alice, "print('kept')")
    async with contextlib.AsyncExitStack() as readers:
        for number in range(34):
            await readers.enter_async_context(connected(gateway, "bob", kernel_id, f"s{number}"))
        async with connected(gateway, "alice", kernel_id, "owners") as alice:
            assert printed(await end_of(alice, request)) == "kept\n"


@pytest.mark.attack(15)
async def test_a_reader_who_does_not_read_is_not_read_either(gateway, monkeypatch):
    kernel_id = await start(gateway, "local", {"bob": "read"})
    async with connected(gateway, "bob", kernel_id) as bob:
        (connection,) = connections_of(gateway, kernel_id)
        transport = bob._websocket._response.connection.transport
        transport.pause_reading()
        header = {"msg_id": "1", "msg_type": "execute_request", "padding": "x" * 10_000}
        message = json.dumps({"channel": "shell", "header": header, "content": {}})

        async def flood():
            while True:
                await bob._websocket.send_str(message)

        flooding = asyncio.create_task(flood())

        async def is_paused():
            return connection.websocket_handler._is_paused and connection.output.outbox.backlog > 0

        await eventually(is_paused)
        most = 2 * connection._limits.client_buffer_bytes
        assert connection.output.outbox.backlog < most
        flooding.cancel()
        transport.resume_reading()


@KERNELS
async def test_a_downgrade_holds_for_the_next_message(gateway, kernel):
    kernel_id = await start(gateway, kernel, {"bob": "full"})
    async with connected(gateway, "bob", kernel_id) as bob:
        assert (await bob.execute("print(1)")).text == "1\n"
        await share(gateway, kernel_id, {"bob": "read"})
        assert (await bob.execute("print(2)")).text == f"{READ_ONLY}\n"
        assert (await bob.request_reply("shell", "kernel_info_request", {}))["status"] == "ok"


async def test_an_upgrade_reconnects_the_client(gateway):
    kernel_id = await start(gateway, "local", {"bob": "read"})
    async with connected(gateway, "bob", kernel_id) as bob:
        await share(gateway, kernel_id, {"bob": "full"})
        _, closed = await until_closed(bob)
    assert "1001 You may run code in this kernel now." in closed
    async with connected(gateway, "bob", kernel_id) as bob:
        assert (await bob.execute("print(1)")).text == "1\n"


@KERNELS
@pytest.mark.parametrize("access", ["read", "full"])
async def test_a_kernel_is_unshared_while_connected(gateway, kernel, access):
    kernel_id = await start(gateway, kernel, {"bob": access, "carol": "read"})
    async with (
        connected(gateway, "alice", kernel_id) as alice,
        connected(gateway, "bob", kernel_id) as bob,
        connected(gateway, "carol", kernel_id) as carol,
    ):
        await share(gateway, kernel_id, {"carol": "read"})
        _, closed = await until_closed(bob)
        assert "1008 This kernel is no longer shared with you." in closed
        await until_watching(alice, carol)


@pytest.mark.attack(15)
async def test_nothing_is_written_after_the_kernel_was_unshared(gateway, monkeypatch):
    kernel_id = await start(gateway, "local", {"bob": "read"})
    async with (
        connected(gateway, "alice", kernel_id) as alice,
        connected(gateway, "bob", kernel_id) as bob,
    ):
        await until_watching(alice, bob)
        (connection,) = (c for c in connections_of(gateway, kernel_id) if c.access == Access.READ)
        written = []
        monkeypatch.setattr(
            connection.websocket_handler.ws_connection,
            "write_fragment",
            lambda data, **_: written.append(data),
        )
        # Without an answer to the close, the gateway's end stays open a little longer.
        bob._websocket._response.connection.transport.pause_reading()
        await share(gateway, kernel_id)
        written.clear()
        await alice.execute("print('secret')")
        assert written == []
        bob._websocket._response.connection.transport.resume_reading()
        assert "1008" in (await until_closed(bob))[1]


async def test_a_handed_over_kernel_is_not_the_earlier_owners(gateway):
    kernel_id = await start(gateway, "local")
    async with connected(gateway, "alice", kernel_id) as alice:
        await gateway.client.request("PATCH", f"/api/kernels/{kernel_id}", {"owner": "bob"})
        _, closed = await until_closed(alice)
        assert "1008" in closed


@pytest.mark.attack(15)
@KERNELS
@pytest.mark.parametrize("access", ["read", "full"])
async def test_the_owners_session_id_is_of_no_use_to_others(gateway, kernel, access):
    kernel_id = await start(gateway, kernel, {"bob": access})
    async with (
        connected(gateway, "alice", kernel_id, SESSION) as alice,
        connected(gateway, "bob", kernel_id, SESSION) as bob,
    ):
        request = await begin(alice, "print(input('Password?'))")
        asked = await messages_until(alice, lambda m: m["msg_type"] == "input_request")
        parent = asked[-1]["header"]
        await bob.send("stdin", "input_reply", {"value": "wrong"}, parent)
        if access == "full":
            # Answered at once, on the control channel, so all that is bob's has come before.
            got = await messages_until(bob, lambda _m: True)
            await bob.send("control", "kernel_info_request", {})
            got += await messages_until(bob, lambda m: m["msg_type"] == "kernel_info_reply")
            assert "input_request" not in [m["msg_type"] for m in got]
        await alice.send("stdin", "input_reply", {"value": "right"}, parent)
        ended = await end_of(alice, request)
        assert [m["content"]["status"] for m in ended if m["msg_type"] == "execute_reply"] == ["ok"]


@pytest.mark.attack(15)
async def test_what_is_kept_for_the_owner_stays_the_owners(gateway):
    """A client that is attached to a mailbox gets its messages, and drops them by acknowledgements."""
    kernel_id = await start(gateway, "launched", {"bob": "full"})
    async with connected(gateway, "alice", kernel_id, SESSION) as alice:
        await alice.execute("1")
        request = await begin(alice, "print('kept')")
    async with connected(gateway, "bob", kernel_id, SESSION) as bob:
        mine = await end_of(bob, await begin(bob, "2"))
        assert request not in [m["parent_header"].get("msg_id") for m in mine]
    async with connected(gateway, "alice", kernel_id, SESSION) as alice:
        messages = await end_of(alice, request)
        assert printed(messages) == "kept\n"
        assert "execute_reply" in [m["msg_type"] for m in messages]


async def test_a_user_finds_the_own_mailbox_at_the_next_gateway(chain):
    kernel_id = await start(chain.gateway, "launched", {"bob": "full"})
    manager = chain.gateway.app.kernel_manager
    chain._provisioners.append(manager.get_kernel(kernel_id).provisioner)
    code = "import time\nfor n in range(6): print(n, flush=True); time.sleep(0.3)"
    async with connected(chain.gateway, "bob", kernel_id) as bob:
        await bob.execute("1")
        request = await begin(bob, code)
        stopping = asyncio.create_task(chain.next())
        before, _ = await until_closed(bob)
    async with connected(await stopping, "bob", kernel_id) as bob:
        after = await end_of(bob, request)
    own = [m for m in before if m["parent_header"].get("msg_id") == request] + after
    assert printed(own) == "0\n1\n2\n3\n4\n5\n"
    assert [m["msg_type"] for m in own].count("execute_reply") == 1


@pytest.mark.parametrize("is_away", [False, True])
async def test_readers_follow_a_restart(gateway, add_provisioner, is_away):
    add_provisioner("moving", Moving)
    kernel_id = await start(gateway, "moving", {"bob": "read"})
    async with connected(gateway, "bob", kernel_id) as bob:
        if is_away:
            async with connected(gateway, "alice", kernel_id, "away") as alice:
                await until_watching(alice, bob)
        await gateway.client.restart(kernel_id)
        async with connected(gateway, "alice", kernel_id) as alice:
            request = await begin(alice, "print('again')")
            await end_of(alice, request)
            await until_watching(alice, bob)
            assert (await bob.request_reply("shell", "kernel_info_request", {}))["status"] == "ok"


# Credentials.


@pytest.fixture
def often(monkeypatch):
    """Check credentials all the time."""
    monkeypatch.setattr(credential_watch, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(credential_watch, "_AGAIN_SECONDS", 0.05)


ENDED = "1008 Your credential is no longer valid; connect again."
EXPIRED = "1001 Your credential has expired; connect again."


@KERNELS
async def test_a_revoked_token_closes_the_websocket(gateway, people, often, kernel):
    kernel_id = await start(gateway, kernel)
    async with connected(gateway, "alice", kernel_id) as alice:
        assert (await alice.execute("print(1)")).text == "1\n"
        del people.identities["alice"]
        assert ENDED in (await until_closed(alice))[1]


async def test_an_expired_credential_closes_the_websocket(gateway, people, monkeypatch):
    """Long before the next check."""
    monkeypatch.setattr(credential_watch, "CHECK_SECONDS", 10_000.0)
    kernel_id = await start(gateway)
    people.identities["alice"] = Identity("alice", expires_at=time.time() + 0.5)
    async with connected(gateway, "alice", kernel_id) as alice:
        people.identities.clear()
        assert EXPIRED in (await until_closed(alice))[1]


async def test_an_expired_credential_lets_the_cell_end(gateway, people, often, tmp_path):
    """The kernel has no mailbox: the rest of the cell's output would be lost."""
    kernel_id = await start(gateway, "local")
    go_on = tmp_path / "go-on"
    waits = f"while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.1)"
    code = f"import pathlib, time\nprint('began')\n{waits}\nprint('went on')"
    async with connected(gateway, "alice", kernel_id) as alice:
        (connection,) = connections_of(gateway, kernel_id)
        handler = connection.websocket_handler

        async def expire():
            people.identities["alice"] = Identity("alice", expires_at=time.time() - 1)

            async def is_noticed():
                if handler.identity.expires_at is not None:
                    people.identities.pop("alice", None)
                return handler._ending is not None

            await eventually(is_noticed)
            go_on.touch()

        assert (await alice.execute(code, on_busy=expire)).text == "began\nwent on\n"
        assert EXPIRED in (await until_closed(alice))[1]


async def test_a_token_that_becomes_another_users_closes_the_websocket(gateway, people, often):
    kernel_id = await start(gateway)
    async with connected(gateway, "alice", kernel_id) as alice:
        people.identities["alice"] = Identity("carol", is_admin=True)
        assert ENDED in (await until_closed(alice))[1]


async def test_a_credential_that_cannot_be_checked_keeps_the_websocket(gateway, people, often):
    kernel_id = await start(gateway)
    checks = 0

    class Away(IdentityUnavailable):
        def __init__(self):
            super().__init__("The hub does not answer.")
            nonlocal checks
            checks += 1

    async with connected(gateway, "alice", kernel_id) as alice:
        identify, people.identify = people.identify, None

        async def fail(_credential):
            raise Away

        people.identify = fail

        async def was_checked():
            return checks > 2

        await eventually(was_checked)
        assert (await alice.execute("print(1)")).text == "1\n"
        people.identify = identify
        del people.identities["alice"]
        assert ENDED in (await until_closed(alice))[1]


async def test_the_access_follows_the_users_groups(gateway, people, often):
    people.identities["bob"] = Identity("bob", frozenset({"team", "other"}))
    kernel_id = await start(gateway, groups={"team": "full", "other": "read"})
    async with connected(gateway, "bob", kernel_id) as bob:
        assert (await bob.execute("print(1)")).text == "1\n"
        (connection,) = connections_of(gateway, kernel_id)
        people.identities["bob"] = Identity("bob", frozenset({"other"}))

        async def is_reader():
            return connection.websocket_handler.identity.groups == {"other"}

        await eventually(is_reader)
        assert (await bob.execute("print(1)")).text == f"{READ_ONLY}\n"
        people.identities["bob"] = Identity("bob")
        assert "1008 This kernel is no longer shared with you." in (await until_closed(bob))[1]


async def test_a_closed_websocket_is_checked_no_more(gateway, people, often):
    kernel_id = await start(gateway)
    async with connected(gateway, "alice", kernel_id):
        (connection,) = connections_of(gateway, kernel_id)
        watch = connection.websocket_handler._credential_watch

    async def is_closed():
        return not connections_of(gateway, kernel_id)

    await eventually(is_closed)
    assert watch._timer.cancelled()


RENEWER = """
import os
from pathlib import Path
from jupyter_server.gateway.gateway_client import GatewayTokenRenewerBase

class Renewer(GatewayTokenRenewerBase):
    def get_token(self, *_args, **_kwargs):
        return Path(os.environ["RENEWED_TOKEN"]).read_text()
"""


async def test_a_stock_server_goes_on_with_a_renewed_token(
    gateway, people, often, monkeypatch, tmp_path, unused_tcp_port
):
    (tmp_path / "renewer.py").write_text(RENEWER)
    token = tmp_path / "token"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("RENEWED_TOKEN", str(token))
    people.identities = {"alice-1": Identity("alice"), "alice-2": Identity("alice")}
    token.write_text("token-of-alice-1")
    renewer = "--GatewayClient.gateway_token_renewer_class=renewer.Renewer"
    async with jupyter_server(gateway, unused_tcp_port, renewer) as browser:
        kernel_id = await browser.start("launched")
        async with browser.channels(kernel_id) as channels:
            await channels.execute("1")
            request = await begin(
                channels,
                "import time\nfor n in range(20): print(n, flush=True); time.sleep(0.1)",
            )
            messages = await messages_until(channels, lambda m: m["msg_type"] == "stream")
            token.write_text("token-of-alice-2")
            del people.identities["alice-1"]
            messages += await end_of(channels, request)
            (connection,) = connections_of(gateway, kernel_id)
            assert connection.websocket_handler._credential.token == "token-of-alice-2"
        assert printed(messages) == "".join(f"{n}\n" for n in range(20))


async def test_a_reader_sees_what_the_kernel_uses_and_a_stranger_nothing(gateway):
    kernel_id = await start(gateway, users={"bob": "read"})
    async with Gateway(gateway.url, "token-of-bob") as bob:
        model = await bob.request("GET", f"/api/kernels/{kernel_id}")
        assert {"usage", "limits", "node", "image", "started"} <= model.keys()
        assert model["owner"] == "alice"
        assert "share" not in model
    async with Gateway(gateway.url, "token-of-carol") as carol:
        with pytest.raises(Refused) as refused:
            await carol.request("GET", f"/api/kernels/{kernel_id}")
        assert refused.value.status == 404
