"""Connections to kernels whose bytes are counted."""

import asyncio
import contextlib
import itertools
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio
import zmq

from api.lying_mailbox import GREETING, NONSENSE, frame, lying_mailbox, message
from gateway_provisioners.gateway.channels import metered
from gateway_provisioners.gateway.channels.allowance import Allowance
from gateway_provisioners.gateway.channels.metered import MeteredConnection
from gateway_provisioners.gateway.channels.pauses import Pauses
from gateway_provisioners.gateway.channels.stream import KernelStream, connect
from gateway_provisioners.gateway.process.limits import FREE_BYTES, LARGE_BYTES, Limits
from timeouts import within_timeout

MIB = 2**20
FILES = Path("/proc/self/fd")
UNFINISHED = b"\x02" + (30 * MIB).to_bytes(8, "big") + b"x" * 2 * MIB


class Application:
    """A 0MQ socket behind a metered connection, and how it uses it."""

    def __init__(self, limits, kernel, *, kind=zmq.DEALER, curve=None):
        host, port = kernel.address
        self.wants = True
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        self.meter = MeteredConnection(host, port, limits, encrypted=curve is not None)
        self.meter.is_starved = self._is_starved
        self.cuts = asyncio.Event()
        self.meter.on_cut = self.cuts.set
        if curve:
            public, secret = curve
            self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
            self.socket.curve_serverkey = public
        self.socket.connect(self.meter.endpoint)

    def _is_starved(self):
        return self.wants and not self.socket.EVENTS & zmq.POLLIN

    def send(self, *frames):
        self.meter.sent(frames)
        self.socket.send_multipart(frames, zmq.NOBLOCK)

    async def take(self):
        while not self.socket.EVENTS & zmq.POLLIN:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        frames = self.socket.recv_multipart(zmq.NOBLOCK)
        self.meter.consumed(frames)
        return frames

    def close(self):
        self.socket.close(0)
        self.meter.close()
        self.context.destroy(0)


class Kernel:
    """The kernel's socket."""

    def __init__(self, *, curve=None):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.sndhwm = self.socket.rcvhwm = 0
        if curve:
            self.socket.curve_publickey, self.socket.curve_secretkey = curve
            self.socket.curve_server = True
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.address = "127.0.0.1", port
        self.route = b""

    async def receive(self):
        while not self.socket.EVENTS & zmq.POLLIN:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        self.route, *frames = self.socket.recv_multipart(zmq.NOBLOCK)
        return frames

    def send(self, *frames):
        self.socket.send_multipart([self.route, *frames], zmq.NOBLOCK)

    def close(self):
        self.context.destroy(0)


@pytest_asyncio.fixture
async def limits():
    return Limits()


@pytest.fixture(params=[False, True], ids=["clear", "curve"])
def curve(request):
    return zmq.curve_keypair() if request.param else None


@contextlib.asynccontextmanager
async def connected(limits, curve=None, **arguments):
    kernel = Kernel(curve=curve)
    application = Application(limits, kernel, curve=curve, **arguments)
    try:
        application.send(b"hello")
        assert await within_timeout(kernel.receive()) == [b"hello"]
        yield application, kernel
    finally:
        application.close()
        kernel.close()


async def settled(read):
    """Return a value when it has not changed for a while."""
    last = object()
    for _ in range(200):
        value = read()
        if value == last:
            return value
        last = value
        await asyncio.sleep(0.05)
    raise AssertionError("the value still changes")


async def until(condition):
    """Return when a condition holds that has no event."""

    async def poll():
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    await within_timeout(poll())


def given(application):
    return application.meter._allowance.outstanding


async def test_messages_of_all_sizes_pass_both_ways(limits, curve):
    async with connected(limits, curve) as (application, kernel):
        for size in (0, 1, 255, 256, FREE_BYTES, LARGE_BYTES, 32 * MIB):
            kernel.send(b"x" * size, b"y")
            assert await within_timeout(application.take()) == [b"x" * size, b"y"]
            application.send(b"x" * size)
            assert await within_timeout(kernel.receive()) == [b"x" * size]
        assert (limits.buffers.held, limits.large.held) == (0, 0)
        assert await settled(lambda: application.meter.waiting) == 0


async def test_count_of_bytes_is_exact_over_many_messages(limits, curve):
    async with connected(limits, curve) as (application, kernel):
        before = await settled(lambda: given(application))
        for size in (1, 100, 200, 255, 256, 1000) * 50:
            kernel.send(b"x" * size, b"")
            await within_timeout(application.take())
        assert abs(await settled(lambda: given(application)) - before) < 100


async def test_unread_messages_stay_with_the_kernel(limits):
    async with connected(limits) as (application, kernel):
        application.wants = False
        for _ in range(100):
            kernel.send(b"x" * MIB)
        assert await settled(lambda: given(application)) <= FREE_BYTES + 1024  # of its frames
        application.wants = True
        application.meter.resume()
        for _ in range(100):
            assert len((await within_timeout(application.take()))[0]) == MIB


async def test_message_of_endless_frames_is_cut(limits):
    async with connected(limits) as (application, kernel):
        with contextlib.suppress(zmq.Again):
            for _ in range(100):
                kernel.socket.send_multipart([kernel.route, *[b"x" * MIB] * 50], zmq.NOBLOCK)
        await within_timeout(application.cuts.wait())
        assert (limits.buffers.held, limits.large.held) == (0, 0)


async def test_large_messages_of_two_kernels_pass_although_only_one_fits(limits):
    async with connected(limits) as (one, first), connected(limits) as (other, second):
        for kernel in (first, second):
            kernel.send(b"x" * 30 * MIB)
        for [taken] in await within_timeout(asyncio.gather(one.take(), other.take())):
            assert len(taken) == 30 * MIB


async def test_bytes_that_a_stopped_kernel_does_not_read_are_counted(limits):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    kernel = type("Silent", (), {"address": listener.getsockname()})
    application = Application(limits, kernel)
    try:
        for _ in range(20):
            application.send(b"x" * MIB)
        assert await settled(lambda: application.meter.waiting) > 10 * MIB
    finally:
        application.close()
        listener.close()


async def test_connection_is_made_again_after_the_kernel_closed_it(limits):
    async with connected(limits) as (application, kernel):
        application.meter._link.close()
        while True:
            application.send(b"again")
            with contextlib.suppress(asyncio.TimeoutError):
                assert await asyncio.wait_for(kernel.receive(), 0.2) == [b"again"]
                break


async def test_port_that_refuses_is_tried_ever_more_rarely(limits):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kernel = type("Gone", (), {"address": listener.getsockname()})
    application = Application(limits, kernel)
    try:
        pauses = set()
        while max(pauses, default=0) < 0.3:
            pauses.add(application.meter._pauses.after_refused)
            await asyncio.sleep(0.01)
        assert sorted(pauses)[:4] == [0.0, 0.02, 0.04, 0.08]
        with socket.create_server(kernel.address):
            await until(lambda: not application.meter._pauses.after_refused)
    finally:
        application.close()


def test_short_connections_follow_ever_more_rarely():
    now = 0
    pauses = Pauses(lambda: now)
    seen = []
    for lasts in (1, 1, 1, 20, 1):
        seen.append(pauses.next())
        pauses.connected()
        now += lasts
    assert [*seen, pauses.next()] == [0, 0.02, 0.04, 0.08, 0, 0.02]


def test_refusals_do_not_hide_that_connections_are_short():
    pauses = Pauses(lambda: 0)
    last = 0
    for _ in range(20):
        last = pauses.next()
        pauses.connected()
        pauses.next()  # is refused
    assert last == 1


async def test_unread_messages_of_ended_connections_stay_counted(limits):
    """0MQ keeps them when it connects again."""
    async with connected(limits) as (application, kernel):
        application.wants = False
        kernel.send(b"x" * 40_000)
        await until(lambda: application.socket.EVENTS & zmq.POLLIN)
        application.meter._link.close()
        await until(lambda: application.meter.is_open)
        assert 40_000 < given(application) <= FREE_BYTES
        assert len((await within_timeout(application.take()))[0]) == 40_000
        assert given(application) < 4096  # of 0MQ's own


async def test_unfinished_message_of_an_ended_connection_is_forgotten(limits):
    async with lying_mailbox() as mailbox:
        mailbox.tell([UNFINISHED])
        application = Application(limits, mailbox)
        try:
            await until(lambda: limits.large.held)
            application.meter._link.close()
            assert (limits.buffers.held, limits.large.held) == (0, 0)
            assert given(application) == 0
        finally:
            application.close()


async def test_message_that_does_not_end_gives_way_to_others(limits):
    limits.large._pressure_seconds = 0.01
    async with lying_mailbox() as mailbox, connected(limits) as (application, kernel):
        mailbox.tell([UNFINISHED])
        hostile = Application(limits, mailbox)
        # It would connect again, and others would then wait for the message of `kernel`.
        hostile.meter.on_cut = lambda: (hostile.cuts.set(), hostile.close())
        try:
            await until(lambda: limits.large.held)
            kernel.send(b"x" * 30 * MIB)
            assert len((await within_timeout(application.take()))[0]) == 30 * MIB
            assert hostile.cuts.is_set()
        finally:
            hostile.close()


@pytest.mark.parametrize("at_once", [100, 2**15])
async def test_message_of_too_many_frames_is_cut(limits, at_once):
    """To take it would keep the event loop for half a second."""
    async with lying_mailbox() as mailbox:
        frames = frame(b"", more=True) * at_once
        mailbox.tell(itertools.chain(itertools.repeat(frames, 200_000 // at_once), [frame(b"")]))
        application = Application(limits, mailbox)
        try:
            await within_timeout(application.cuts.wait())
            assert not application.socket.EVENTS & zmq.POLLIN
        finally:
            application.close()


async def test_small_frames_that_come_alone_cost_a_buffer_of_0mq_each(limits):
    allowance = Allowance(limits, lambda: False, lambda: None, lambda: None)
    allowance.seen(memoryview(GREETING))
    count = 0
    while allowance.free() > 0:
        count += 1
        allowance.seen(memoryview(frame(b"x" * 40)))
    assert count <= FREE_BYTES // 8192
    allowance.consumed(count * (42 + 128), count)
    assert allowance.free() > FREE_BYTES // 2


@contextlib.asynccontextmanager
async def stream_to(port, limits):
    kernel = SimpleNamespace(
        context=zmq.Context(), curve_publickey=None, ip="127.0.0.1", shell_port=port
    )
    stream = KernelStream(connect(kernel, "shell", limits))
    meter = stream.socket.meter
    try:
        yield stream, meter
    finally:
        stream.close(0)
        await until(lambda: not meter.is_open)
        kernel.context.destroy(0)


async def test_stream_goes_on_after_0mq_has_ended_the_connection(limits):
    async with lying_mailbox() as mailbox:
        mailbox.tell([NONSENSE], is_zmq=False)
        async with stream_to(mailbox.port, limits) as (stream, meter):
            was_cut, received = asyncio.Event(), asyncio.Queue()
            meter.on_cut = was_cut.set
            stream.on_recv(received.put_nowait)
            await within_timeout(was_cut.wait())
            mailbox.tell([message(b"hello")])
            assert await within_timeout(received.get()) == [b"hello"]


async def test_stream_goes_on_after_a_kernel_that_sent_nonsense_and_left(limits, monkeypatch):
    monkeypatch.setattr(metered, "_RECONNECT_SECONDS", 0.5)
    async with lying_mailbox() as mailbox:
        mailbox.tell([NONSENSE], is_zmq=False, leaves=True)
        async with stream_to(mailbox.port, limits) as (stream, _):
            received = asyncio.Queue()
            stream.on_recv(received.put_nowait)
            await within_timeout(mailbox.was_sent.wait())
            mailbox.tell([message(b"hello")])
            assert await within_timeout(received.get()) == [b"hello"]


async def test_all_that_a_stream_sends_is_counted(limits):
    async with lying_mailbox() as mailbox:
        mailbox.tell([], is_zmq=False)  # without 0MQ's greeting, it waits
        async with stream_to(mailbox.port, limits) as (stream, meter):
            for _ in range(2000):  # more than 0MQ's usual limit
                stream.send_multipart([b"x"])
            await until(lambda: meter._waiting == 2000 * 3)


async def test_last_message_before_a_close_arrives(limits):
    async with connected(limits) as (application, kernel):
        application.send(b"last")
        application.socket.close(1000)
        application.meter.close()
        assert await within_timeout(kernel.receive()) == [b"last"]


async def test_other_processes_cannot_connect(limits):
    async with connected(limits) as (application, _):
        name = application.meter.endpoint.removeprefix("ipc://@")
        program = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('\\0' + sys.argv[1]);"
            "print(s.recv(1))"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, name, stdout=asyncio.subprocess.PIPE
        )
        assert (await within_timeout(process.communicate()))[0] == b"b''\n"


def _open_files():
    return len(list(FILES.iterdir()))


async def test_no_file_stays_open(limits):
    before = _open_files()
    for _ in range(3):
        async with connected(limits):
            pass
    assert await settled(_open_files) <= before + 1
