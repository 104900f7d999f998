"""Both ends of the mailbox port go on, or disconnect the other one, whatever it sends."""

import asyncio
import contextlib
import hmac
import math
from types import SimpleNamespace

import pytest
import zmq.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from api.lying_mailbox import GREETING, READY, frame, lying_mailbox, message
from fuzz.hostile import altered, dumped, odd_texts, shaped_frames
from gateway_provisioners.gateway.channels import metered
from gateway_provisioners.gateway.process.limits import Limits
from gateway_provisioners.gateway.websocket.mailbox_client import MailboxConnection
from gateway_provisioners.provisioners.mailbox import MailboxEndpoint
from kernel_launcher import mailbox as mailboxes
from kernel_launcher.accepted import MOST_REQUESTS
from kernel_launcher.mailbox import Mailbox
from kernel_launcher.relay import Relay
from kernel_launcher.spool import Spool
from timeouts import within_timeout

WELCOME = {"execution_state": "idle", "dropped": 0, "last": 0, "features": ["mailbox"]}
PARTS = [b"<IDS|MSG>", b"signature", b'{"msg_id": "a"}', b'{"msg_id": "b"}', b"{}", b"{}"]
END = message(b"taken")
numbers = st.integers(0, 12).map(lambda number: b"%d" % number) | odd_texts.map(str.encode)
kinds = st.sampled_from([b"iopub", b"shell", b"control", b"stdin"])
numbered = st.tuples(kinds, numbers).map(lambda drawn: [*drawn, *PARTS])
others = st.sampled_from([[b"dropped", b"3"], [b"ping"], [b"welcome", dumped(WELCOME)]])
welcomes = altered(WELCOME, most=1).map(lambda content: [b"welcome", dumped(content)])
conversations = st.tuples(
    welcomes | shaped_frames(welcomes),
    st.lists(numbered | others | shaped_frames(numbered | others), max_size=6),
).map(lambda drawn: [drawn[0], *drawn[1]])


class Gateway:
    """The gateway's end, and all that it noticed."""

    def __init__(self, port):
        self.context = zmq.asyncio.Context()
        kernel = SimpleNamespace(
            context=self.context,
            ip="127.0.0.1",
            curve_publickey=None,
        )
        self.numbers, self.dropped, self.failures = [], [], []
        self.ended = asyncio.Event()
        self.broken = False
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, failure: self.failures.append(failure))
        self.connection = MailboxConnection(
            kernel, MailboxEndpoint(port, b"key"), "s", Limits(), welcome_timeout=30
        )
        self.connection.on_message = self._take
        self.connection.on_dropped = self.dropped.append
        self.connection.on_taken = self.ended.set
        self.connection.on_broken = self._broken
        self.connection.receive()

    def _take(self, _channel, frames, number):
        assert frames
        self.numbers.append(number)
        self.connection.written(number)
        self.connection.delivered(number)
        return True

    def _broken(self, reason):
        assert len(reason) < 200
        self.broken = True
        self.ended.set()

    async def close(self):
        self.connection.close()
        while self.connection._meter.is_open:  # noqa: ASYNC110 - 0MQ closes it in a thread of its own
            await asyncio.sleep(0.001)
        self.context.destroy(linger=0)
        assert self.failures == []
        assert self.numbers == sorted(set(self.numbers))
        assert all(0 <= count < 10**18 for count in self.dropped)


async def listen_to(pieces):
    """Return once the gateway has read everything, or has disconnected the launcher."""
    async with lying_mailbox() as mailbox:
        mailbox.tell(pieces)
        gateway = Gateway(mailbox.port)
        try:
            await within_timeout(gateway.ended.wait())
        finally:
            await gateway.close()


@given(conversations)
def test_messages_of_launchers(conversation):
    lie = [message(*frames) for frames in conversation if frames]
    asyncio.run(listen_to([*lie, END]))


# The launcher's side of a conversation, and how many bytes of the gateway's it awaits after each step.
STEPS = (
    (GREETING, len(GREETING)),
    (frame(READY, command=True), 2),  # the gateway's READY
    (message(b"welcome", dumped(WELCOME)), 0),
    (message(b"iopub", b"1", *PARTS) + message(b"iopub", b"2", *PARTS) + END, 0),
)
WHOLE = sum(len(step) for step, _ in STEPS)
# How many bytes each peer at a port sends before it closes.
ports = st.lists(st.lists(st.integers(0, WHOLE), min_size=1, max_size=3), min_size=1, max_size=20)


async def is_served(sizes, *, in_step):
    """Return whether a gateway is served by the last of several peers, and does not give up on them.

    Args:
        sizes: what the peers before send until they close.
        in_step: whether they wait for the gateway, as 0MQ does.
    """
    peers = iter(sizes)

    async def serve(reader, writer):
        size = next(peers, None)
        left = WHOLE if size is None else size
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            for step, answer in STEPS:
                writer.write(step[:left])
                left -= len(step)
                if left < 0:
                    break
                if in_step or size is None:
                    await reader.readexactly(answer)
            while size is None and await reader.read(2**16):
                pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    gateway = Gateway(server.sockets[0].getsockname()[1])
    try:
        await within_timeout(gateway.ended.wait())
    finally:
        await gateway.close()
        server.close()
    return not gateway.broken


async def are_served(drawn, *, in_step):
    """Return for each of several ports whether its gateway is served."""
    return await asyncio.gather(*(is_served(sizes, in_step=in_step) for sizes in drawn))


# Few: 0MQ waits before each of its connections.
@settings(max_examples=10)
@given(ports)
def test_launchers_that_close_early(drawn):
    assert all(asyncio.run(are_served(drawn, in_step=True)))


@settings(max_examples=10)
@given(ports)
def test_peers_that_close_early_and_do_not_wait(drawn):
    """0MQ takes it for nonsense if a message comes before its own READY was sent: that ends as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metered, "_RECONNECT_SECONDS", 0.5)
        asyncio.run(are_served(drawn, in_step=False))


class Routes:
    """Takes what is sent; routes can be away."""

    def __init__(self):
        self.away = set()
        self.sent = []

    def __call__(self, route, frames):
        if route in self.away:
            return False
        self.sent.append((route, list(frames)))
        return True


MOST_BYTES = 4000
SESSIONS = [b"s1", b"s2"]
ROUTES = [b"r1", b"r2", b"r3"]


class LauncherMailbox(RuleBasedStateMachine):
    """The launcher's end, with gateways that attach, acknowledge and leave as they like."""

    def __init__(self):
        super().__init__()
        self.routes = Routes()
        self.mailbox = Mailbox(
            MOST_BYTES,
            Spool(MOST_BYTES),
            self.routes,
            lambda *words: [b"lost", repr(words).encode()],
        )

    @rule(
        session=st.sampled_from(SESSIONS) | st.binary(max_size=9),
        route=st.sampled_from(ROUTES),
        confirms=st.booleans(),
    )
    def attach(self, session, route, confirms):
        self.routes.away.discard(route)
        self.mailbox.attach(session, route, "idle", confirms=confirms)

    @rule(route=st.sampled_from(ROUTES), request=st.text(max_size=2))
    def accept(self, route, request):
        if self.mailbox.accept(route, request):
            assert not self.mailbox.accept(route, request)

    @rule(route=st.sampled_from(ROUTES), number=st.integers(0, 40) | st.just(10**19))
    def acknowledge(self, route, number):
        self.mailbox.acknowledge(route, number)

    @rule(route=st.sampled_from(ROUTES))
    def detach(self, route):
        self.mailbox.detach(route)

    @rule(route=st.sampled_from(ROUTES))
    def lose(self, route):
        self.routes.away.add(route)

    @rule(frames=shaped_frames(st.just(PARTS)), times=st.integers(1, 9))
    def publish(self, frames, times):
        for _ in range(times):
            self.mailbox.publish(frames)

    @rule(size=st.integers(0, 2 * MOST_BYTES), session=st.sampled_from(SESSIONS))
    def answer(self, size, session):
        self.mailbox.post(b"shell", [*PARTS, b"x" * size], session)

    @invariant()
    def a_connection_is_one_sessions(self):
        mailbox = self.mailbox
        assert all(client.route == route for route, client in mailbox._routes.items())
        attached = set(mailbox._routes.values())
        assert all(client in attached for client in mailbox._clients.values() if client.connected)

    @invariant()
    def numbers_rise_from_welcome_to_welcome(self):
        last = {}
        for route, (kind, *rest) in self.routes.sent:
            if kind == b"welcome":
                last[route] = 0
            elif kind == b"taken":
                last[route] = math.inf  # nothing follows
            elif kind != b"ping":
                assert int(rest[0]) > last[route]
                last[route] = int(rest[0])

    @invariant()
    def memory_is_bounded(self):
        mailbox = self.mailbox
        assert 0 <= mailbox._bytes <= MOST_BYTES
        assert 0 <= mailbox._spool._bytes <= MOST_BYTES
        assert mailbox._count >= 0
        assert len(mailbox._clients) <= mailboxes.MOST_CLIENTS
        assert len(mailbox._routes) <= len(mailbox._clients)
        for client in mailbox._clients.values():
            assert client.acknowledged <= client.sent <= mailbox._last
            assert client.bytes_in_flight == sum(cost for _, cost in client.in_flight)
            assert len(client.lost) <= mailboxes.MOST_CELLS
            assert len(client.requests._ids) <= MOST_REQUESTS
            assert len(client.in_flight) <= mailboxes.WINDOW_MESSAGES


TestLauncherMailbox = LauncherMailbox.TestCase


@given(shaped_frames(st.just([b"attach", b"signature", b'{"session": "s"}'])))
def test_attachments(frames):
    """Only what the key signed is read; the rest attaches no one."""
    relay = SimpleNamespace(_mailbox_key=b"key")
    assert Relay._authenticated(relay, frames[1:]) == {}
    content = frames[-1] if frames else b""
    signature = hmac.new(b"key", b"attach" + content, "sha256").hexdigest().encode()
    assert isinstance(Relay._authenticated(relay, [signature, content]), dict)
