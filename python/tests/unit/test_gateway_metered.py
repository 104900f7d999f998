"""Connections to kernels whose bytes are counted."""

import asyncio
import contextlib
import socket
import sys
from pathlib import Path

import pytest
import pytest_asyncio
import zmq

from gateway_provisioners.gateway.channels.metered import MeteredConnection
from gateway_provisioners.gateway.process.limits import FREE_BYTES, LARGE_BYTES, Limits
from timeouts import within_timeout

MIB = 2**20
FILES = Path("/proc/self/fd")


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


def given(application):
    return application.meter._link._allowance.outstanding


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


async def test_large_messages_of_two_kernels_pass_one_after_the_other(limits):
    async with connected(limits) as (one, first), connected(limits) as (other, second):
        for kernel in (first, second):
            kernel.send(b"x" * 30 * MIB)
        for application in (one, other):
            assert len((await within_timeout(application.take()))[0]) == 30 * MIB
            assert limits.large.held <= limits.large.total


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
            pauses.add(application.meter._pause)
            await asyncio.sleep(0.01)
        assert sorted(pauses)[:4] == [0.0, 0.02, 0.04, 0.08]
        with socket.create_server(kernel.address):
            while application.meter._pause:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        application.close()


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
