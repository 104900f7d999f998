"""The connection of one request, as the application sees it: what is answered, and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

from tornado import httputil, iostream
from tornado.http1connection import HTTP1Connection

from gateway_provisioners.gateway.identity.identity import UNKNOWN, Identification

# After an answer that comes before the body, so much of the body is read, and dropped: many clients read the
# answer only after they have sent it, and would lose the answer if the connection were reset.
MAX_DROPPED_BYTES = 32 * 2**20
DROP_SECONDS = 5


class Answer(httputil.HTTPConnection):
    """The connection of a request, whose answer does not name the server's software and its version.

    Attributes:
        identification: who sends the request.
    """

    def __init__(
        self, connection: HTTP1Connection, identification: Identification = UNKNOWN
    ) -> None:
        self.context = connection.context
        self.identification = identification
        self._connection = connection

    @property
    def stream(self) -> iostream.IOStream:
        """The stream of the request; None once a websocket has it, which it would outlive from here."""
        return self._connection.stream

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        headers.pop("Server", None)
        return self._connection.write_headers(start_line, headers, chunk)

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        return self._connection.write(chunk)

    def finish(self) -> None:
        self._connection.finish()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call a function when the client has gone."""
        self._connection.set_close_callback(callback)

    def detach(self) -> iostream.IOStream:
        """Give the stream to a websocket."""
        return self._connection.detach()


class LastAnswer(Answer):
    """The connection of a request that is answered before its body is there: it closes after the answer."""

    def __init__(
        self, connection: HTTP1Connection, identification: Identification = UNKNOWN
    ) -> None:
        super().__init__(connection, identification)
        self._finished = asyncio.Event()

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        headers["Connection"] = "close"
        return super().write_headers(start_line, headers, chunk)

    def finish(self) -> None:
        self._finished.set()

    async def sent(self) -> None:
        """Wait until the answer is sent, drop what comes meanwhile, and close the connection."""
        stream = self.stream
        deadline = asyncio.get_running_loop().call_later(DROP_SECONDS, self._give_up)
        try:
            await self._finished.wait()
            with contextlib.suppress(OSError):  # also tornado's StreamClosedError
                await stream.write(b"")  # when all before it is written
                if not (stream.closed() or isinstance(stream.socket, ssl.SSLSocket)):
                    stream.socket.shutdown(socket.SHUT_WR)
                dropped = 0
                while dropped < MAX_DROPPED_BYTES:
                    dropped += len(await stream.read_bytes(2**16, partial=True))
                    await asyncio.sleep(0)  # what has arrived is read without waiting
        finally:
            deadline.cancel()
            self._connection.close()

    def _give_up(self) -> None:
        self.stream.close()
        self._finished.set()
