"""A path to a gateway that can be cut: a proxy of bytes, in this network or at the far end of a veth pair."""

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from urllib.parse import urlsplit

from ci.commands import run
from ci.veth import Addresses, Veth, free_slot

_CLONE_NEWNET = 0x40000000


class Link:
    """A proxy of bytes to one address.

    Args:
        url: where it leads.
        listening: the socket where clients reach it.
    """

    def __init__(self, url, listening):
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listening = listening
        self._writers = set()
        self._is_cut = False

    @property
    def url(self):
        host, port = self._listening.getsockname()[:2]
        return f"http://{host}:{port}"

    @contextlib.asynccontextmanager
    async def passing(self):
        """Pass on bytes for the length of the block."""
        async with await asyncio.start_server(self._pass_on, sock=self._listening):
            try:
                yield self
            finally:
                self.cut()

    def cut(self):
        """Abort all connections, and new ones until `mend`."""
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self):
        self._is_cut = False

    async def _pass_on(self, reader, writer):
        if self._is_cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            self._writers -= both
            for each in both:
                each.transport.abort()


async def _copy(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@contextlib.asynccontextmanager
async def link(url):
    """A link whose connections can be aborted."""
    async with Link(url, socket.create_server(("127.0.0.1", 0))).passing() as link:
        yield link


class Cable:
    """The link behind a veth pair, which is unplugged: bytes are lost, and no side hears of it."""

    def __init__(self, link, veth):
        self.url = link.url
        self._veth = veth

    def unplug(self):
        self._set("down")

    def plug(self):
        self._set("up")

    def _set(self, state):
        run("ip", "-n", self._veth.name, "link", "set", f"gpe{self._veth.slot}node", state)


@contextlib.asynccontextmanager
async def cable(url):
    """A link in a network namespace of its own."""
    veth = Veth(f"gp-laptop-{os.getpid()}", free_slot())
    veth.connect()
    try:
        listening = _listening_in(veth.namespace, str(Addresses(veth.slot).engine))
        async with Link(url, listening).passing() as link:
            yield Cable(link, veth)
    finally:
        veth.remove()


def _listening_in(namespace, address):
    """Return a socket that listens in another network namespace: it stays there, in any use."""
    made = []

    def listen():
        libc = ctypes.CDLL(None, use_errno=True)
        with namespace.open() as file:
            if libc.setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        made.append(socket.create_server((address, 0)))

    # It leaves with its thread: the namespace of others stays the same.
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    [listening] = made
    return listening
