"""The HTTP server: decides about a request when its headers are there, before any of its body is kept."""

from __future__ import annotations

import copy
import logging
import socket
import weakref
from collections.abc import Awaitable, Callable, Sequence
from http.client import responses
from typing import Any

from tornado import httputil, iostream, web
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer

from gateway_provisioners.gateway.http.answers import Answer, LastAnswer
from gateway_provisioners.gateway.http.crowd import Crowd, Network, client_address
from gateway_provisioners.gateway.identity.identity import Identification
from gateway_provisioners.gateway.kernels.addresses import KernelAddresses
from gateway_provisioners.model.addresses import Address, read_address
from gateway_provisioners.model.request.launch_request import MAX_ENVIRONMENT_BYTES
from gateway_provisioners.model.wording import in_short_lines

_log = logging.getLogger(__name__)

# The largest body is an environment, whose JSON is longer than the environment itself.
MAX_BODY_BYTES = 2 * MAX_ENVIRONMENT_BYTES
MAX_HEADER_BYTES = 32 * 1024
MAX_PATH_LENGTH = 8 * 1024
METHODS = frozenset(web.RequestHandler.SUPPORTED_METHODS)
# The longest wait for the headers of a client that has shown no credential.
STRANGER_SECONDS = 75
# The same for one that has: more than load balancers keep an unused connection, some of them 600 seconds.
IDLE_SECONDS = 620
BODY_SECONDS = 15
# What the kernel's TCP may hold of what a client has not read, beyond what is in transit: its buffer would
# grow to several MiB, which count as memory of the gateway's container. SO_SNDBUF would bound what is in
# transit as well, and so slow down clients that are far away.
_NOT_SENT_BYTES = 128 * 1024


class Server(HTTPServer):
    """tornado's server with limits, and with fairness between unknown clients.

    Args:
        application: handles the requests that are let in.
        refusal: the handler of requests that are not let in; a subclass of `Refusal`.
        identify: returns who sends a request. The bodies of unknown clients are not kept: the application
            answers them without, and refuses those that need a credential.
        kernels: whose connections are closed before anything of them is read.
        proxies: whose X-Forwarded-For counts.
        max_buffer_bytes: the largest message of a websocket.
    """

    def initialize(  # type: ignore[override]
        self,
        application: web.Application,
        *,
        refusal: type[Refusal],
        identify: Callable[[httputil.HTTPServerRequest], Awaitable[Identification]],
        kernels: KernelAddresses,
        proxies: Sequence[Network] = (),
        max_buffer_bytes: int = 2**20,
        **kwargs: Any,
    ) -> None:
        super().initialize(
            application,
            # Larger bodies are answered in words, which tornado would not do.
            max_body_size=2**62,
            max_header_size=MAX_HEADER_BYTES,
            idle_connection_timeout=STRANGER_SECONDS,
            body_timeout=BODY_SECONDS,
            max_buffer_size=max_buffer_bytes + MAX_BODY_BYTES,
            **kwargs,
        )
        self._params_when_known = copy.copy(self.conn_params)
        self._params_when_known.header_timeout = IDLE_SECONDS
        self._application = application
        self._refusal = refusal
        self._identify = identify
        self._proxies = proxies
        self._kernels = kernels
        kernels.subscribe(self._close_those_of_kernels)
        # Those of websockets as well, which tornado's own list of connections lacks.
        self._peers: weakref.WeakKeyDictionary[iostream.IOStream, Address] = (
            weakref.WeakKeyDictionary()
        )
        self._crowd: Crowd[iostream.IOStream] = Crowd(lambda stream: stream.close())

    @classmethod
    def configurable_base(cls) -> type[Server]:
        return Server

    @classmethod
    def configurable_default(cls) -> type[Server]:
        return Server

    def handle_stream(self, stream: iostream.IOStream, address: Any) -> None:
        """Serve a new connection, unless it is a kernel's."""
        peer = read_address(str(address[0]))
        if peer in self._kernels:
            self._close(stream, peer)
            return
        self._peers[stream] = peer
        if isinstance(stream.socket, socket.socket):
            stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT_BYTES)
        self._crowd.admit(stream, str(address[0]))
        super().handle_stream(stream, address)

    def _close_those_of_kernels(self) -> None:
        """Close the connections that a kernel has opened before its address was known."""
        for stream, peer in list(self._peers.items()):
            if peer in self._kernels and not stream.closed():
                self._close(stream, peer)

    def _close(self, stream: iostream.IOStream, peer: Address) -> None:
        _log.info(
            "Closed a connection of a kernel, from %s: kernels may not use the gateway unless "
            "GP_ALLOW_KERNELS is set.",
            peer,
        )
        stream.close()

    def on_close(self, server_conn: object) -> None:
        """Forget a connection."""
        assert isinstance(server_conn, HTTP1ServerConnection)  # noqa: S101
        self._crowd.leave(server_conn.stream)
        super().on_close(server_conn)

    def start_request(
        self, server_conn: object, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        assert isinstance(request_conn, HTTP1Connection)  # noqa: S101
        if request_conn.stream not in self._crowd:
            request_conn.params = self._params_when_known

        def target(connection: httputil.HTTPConnection) -> httputil.HTTPMessageDelegate:
            return super(Server, self).start_request(server_conn, connection)

        return _Request(self, request_conn, target)

    def error(self, request: httputil.HTTPServerRequest) -> web.HTTPError | None:
        """Return why a request is refused from any client, or None."""
        if request.method not in METHODS:
            methods = ", ".join(sorted(METHODS))
            return web.HTTPError(405, f"The method must be one of: {methods}.")
        if len(request.uri or "") > MAX_PATH_LENGTH:
            return web.HTTPError(
                414, f"The path is longer than the {MAX_PATH_LENGTH} characters that it may have."
            )
        return None

    async def identify(
        self, request: httputil.HTTPServerRequest, stream: iostream.IOStream
    ) -> Identification:
        """Return who sends a request; the connection of a client that is known leaves the crowd."""
        self._crowd.move(stream, str(request.remote_ip))
        identification = await self._identify(request)
        if identification.identity is not None:
            self._crowd.leave(stream)
        return identification

    def address_of(self, peer: str, headers: httputil.HTTPHeaders) -> str:
        """Return the address of a client."""
        return client_address(peer, headers.get_list("X-Forwarded-For"), self._proxies)

    def refuse(self, request: httputil.HTTPServerRequest, error: web.HTTPError) -> None:
        """Answer a request with an error."""
        self._application.get_handler_delegate(request, self._refusal, {"error": error}).finish()


class Refusal(web.RequestHandler):
    """Answers a request that the server refuses, in the form of all errors."""

    def initialize(self, error: web.HTTPError) -> None:
        self._error = error
        assert self.request.method  # noqa: S101
        self.SUPPORTED_METHODS = (self.request.method,)  # tornado's own refusal has no words

    async def prepare(self) -> None:
        """Refuse."""
        if self._error.status_code == 405:
            self.set_header("Allow", ", ".join(sorted(METHODS)))
        raise self._error

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Send `{"reason", "message"}`."""
        message = in_short_lines(self._error.get_message() or "")
        self.finish({"reason": responses[status_code], "message": message})

    def log_exception(self, *_args: Any) -> None:
        """Leave it to the access log."""


class _Request(httputil.HTTPMessageDelegate):
    """One request on its way to the application, or to its refusal."""

    def __init__(
        self,
        server: Server,
        connection: HTTP1Connection,
        target: Callable[[httputil.HTTPConnection], httputil.HTTPMessageDelegate],
    ) -> None:
        self._server = server
        self._connection = connection
        self._context: Any = connection.context
        self._new_target = target
        self._target: httputil.HTTPMessageDelegate | None = None
        self._request: httputil.HTTPServerRequest
        self._received = 0

    def headers_received(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, httputil.RequestStartLine)  # noqa: S101
        peer = self._context.address[0] if self._context.address else self._context.remote_ip
        self._context.remote_ip = self._server.address_of(str(peer), headers)
        self._request = httputil.HTTPServerRequest(
            connection=self._connection, start_line=start_line, headers=headers
        )
        if error := self._server.error(self._request):
            return self._refuse(error)
        return self._admit(start_line, headers)

    async def _admit(
        self, start_line: httputil.RequestStartLine, headers: httputil.HTTPHeaders
    ) -> None:
        identification = await self._server.identify(self._request, self._connection.stream)
        known = identification.identity is not None
        if known and _length(headers) > MAX_BODY_BYTES:
            await self._refuse(_TOO_LARGE)
        elif not known and _has_body(headers):
            await self._answer_without_body(start_line, headers, identification)
        else:
            self._target = self._new_target(Answer(self._connection, identification))
            received = self._target.headers_received(start_line, headers)
            if received is not None:
                await received

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._target is None:
            return None
        self._received += len(chunk)
        if self._received > MAX_BODY_BYTES:  # in chunks: their sum is not announced
            self._target.on_connection_close()
            self._target = None
            return self._refuse(_TOO_LARGE)
        return self._target.data_received(chunk)

    def finish(self) -> None:
        if self._target is not None:
            self._target.finish()

    def on_connection_close(self) -> None:
        if self._target is not None:
            self._target.on_connection_close()

    async def _refuse(self, error: web.HTTPError) -> None:
        answer = LastAnswer(self._connection)
        self._request.connection = answer
        self._server.refuse(self._request, error)
        await answer.sent()

    async def _answer_without_body(
        self,
        start_line: httputil.RequestStartLine,
        headers: httputil.HTTPHeaders,
        identification: Identification,
    ) -> None:
        answer = LastAnswer(self._connection, identification)
        target = self._new_target(answer)
        target.headers_received(start_line, headers)
        target.finish()
        await answer.sent()


_TOO_LARGE = web.HTTPError(
    413, f"The body is larger than the {MAX_BODY_BYTES} bytes that a request may have."
)


def _has_body(headers: httputil.HTTPHeaders) -> bool:
    return "Transfer-Encoding" in headers or headers.get("Content-Length", "0") != "0"


def _length(headers: httputil.HTTPHeaders) -> int:
    """Return the length that a body announces; tornado refuses one that is malformed."""
    text = headers.get("Content-Length", "").lstrip("0")
    # More digits are not needed, and Python refuses to read thousands of them.
    return int(text[:12]) if text.isdecimal() else 0
