"""The HTTP server: decides about a request when its headers are there, before any of its body is kept."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from http.client import responses
from typing import Any

from tornado import httputil, iostream
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.web import RequestHandler

from gateway_provisioners.gateway.http.crowd import Crowd, Network, client_address
from gateway_provisioners.model.request.launch_request import MAX_ENVIRONMENT_BYTES

# The largest body is an environment, whose JSON is longer than the environment itself.
MAX_BODY_BYTES = 2 * MAX_ENVIRONMENT_BYTES
# So much of a body that is refused is read all the same: many clients read the answer only then.
MAX_DISCARDED_BYTES = 8 * MAX_BODY_BYTES
MAX_HEADER_BYTES = 32 * 1024
MAX_PATH_LENGTH = 8 * 1024
# More than load balancers wait before they use a connection again.
IDLE_SECONDS = 75
BODY_SECONDS = 15
METHODS = frozenset(RequestHandler.SUPPORTED_METHODS)
# What the kernel's TCP may hold of what a client has not read, beyond what is in transit: its buffer would
# grow to several MiB, which count as memory of the gateway's container.
_NOT_SENT_BYTES = 128 * 1024
_TCP_NOTSENT_LOWAT = 25  # tcp(7), which the socket module lacks


class Server(HTTPServer):
    """tornado's server with limits, and with fairness between unknown clients.

    Args:
        application: handles the requests that are let in.
        is_known: returns whether a request shows a credential: the bodies of others are not kept. The
            application refuses them. None: no request needs one.
        proxies: whose X-Forwarded-For counts.
        max_buffer_bytes: the largest message of a websocket.
    """

    def initialize(  # type: ignore[override]
        self,
        application: httputil.HTTPServerConnectionDelegate,
        *,
        is_known: Callable[[httputil.HTTPServerRequest], bool] | None = None,
        proxies: Sequence[Network] = (),
        max_buffer_bytes: int = 2**20,
        **kwargs: Any,
    ) -> None:
        super().initialize(
            application,
            max_body_size=MAX_BODY_BYTES,
            max_header_size=MAX_HEADER_BYTES,
            idle_connection_timeout=IDLE_SECONDS,
            body_timeout=BODY_SECONDS,
            max_buffer_size=max_buffer_bytes + MAX_BODY_BYTES,
            **kwargs,
        )
        # Larger bodies are answered in words, which tornado would not do.
        self.conn_params.max_body_size = 2**62
        self._is_known = is_known
        self._proxies = proxies
        self._crowd: Crowd[iostream.IOStream] = Crowd(lambda stream: stream.close())

    @classmethod
    def configurable_base(cls) -> type[Server]:
        return Server

    @classmethod
    def configurable_default(cls) -> type[Server]:
        return Server

    def handle_stream(self, stream: iostream.IOStream, address: Any) -> None:
        """Serve a new connection."""
        if isinstance(stream.socket, socket.socket):
            stream.socket.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _NOT_SENT_BYTES)
        self._crowd.admit(stream, str(address[0]))
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection."""
        assert isinstance(server_conn, HTTP1ServerConnection)  # noqa: S101
        self._crowd.leave(server_conn.stream)
        super().on_close(server_conn)

    def start_request(
        self, server_conn: object, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        assert isinstance(request_conn, HTTP1Connection)  # noqa: S101
        return _Request(self, super().start_request(server_conn, request_conn), request_conn)

    def refuses(self, request: httputil.HTTPServerRequest) -> int:
        """Return the status of a refusal for which the application is not needed, or 0."""
        if request.method not in METHODS:
            return 405
        if len(request.uri or "") > MAX_PATH_LENGTH:
            return 414
        length = request.headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES:
            return 413
        return 0

    def knows(self, request: httputil.HTTPServerRequest, stream: iostream.IOStream) -> bool:
        """Return whether a request shows a credential; its connection is then no longer an unknown one."""
        known = self._is_known is None or self._is_known(request)
        if known and self._is_known is not None:
            self._crowd.leave(stream)
        return known

    def address_of(self, peer: str, headers: httputil.HTTPHeaders) -> str:
        """Return the address of a client."""
        return client_address(peer, headers.get_list("X-Forwarded-For"), self._proxies)


_MESSAGES = {
    405: f"The method must be one of: {', '.join(sorted(METHODS))}.",
    413: f"The body is larger than the {MAX_BODY_BYTES} bytes that a request may have.",
    414: f"The path is longer than the {MAX_PATH_LENGTH} characters that it may have.",
}


class _Request(httputil.HTTPMessageDelegate):
    """One request on its way to the application, or to its refusal."""

    def __init__(
        self, server: Server, target: httputil.HTTPMessageDelegate, connection: HTTP1Connection
    ) -> None:
        self._server = server
        self._target = target
        self._connection = connection
        self._context: Any = connection.context
        self._refused = 0
        self._is_answered = False
        self._is_known = False
        self._received = 0

    def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> Any:
        peer = self._context.address[0] if self._context.address else self._context.remote_ip
        self._context.remote_ip = self._server.address_of(str(peer), headers)
        request = httputil.HTTPServerRequest(
            connection=self._connection, start_line=start_line, headers=headers
        )
        self._refused = self._server.refuses(request)
        if not self._refused:
            self._is_known = self._server.knows(request, self._connection.stream)
            return self._target.headers_received(start_line, headers)
        if self._refused != 413 or int(headers["Content-Length"]) > MAX_DISCARDED_BYTES:
            self._refuse()
        return None

    def data_received(self, chunk: bytes) -> Any:
        self._received += len(chunk)
        if self._received > MAX_BODY_BYTES and not self._refused:
            self._refused = 413
            self._target.on_connection_close()
        if self._refused or not self._is_known:
            if self._received > MAX_DISCARDED_BYTES and self._refused and not self._is_answered:
                self._refuse()
            return None
        return self._target.data_received(chunk)

    def finish(self) -> None:
        if not self._refused:
            self._target.finish()
        elif not self._is_answered:
            self._refuse()

    def on_connection_close(self) -> None:
        if not self._refused:
            self._target.on_connection_close()

    def _refuse(self) -> None:
        self._is_answered = True
        status = self._refused
        answer = {"reason": responses[status], "message": _MESSAGES[status]}
        body = json.dumps(answer).encode()
        headers = httputil.HTTPHeaders(
            {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Connection": "close",
            }
        )
        if status == 405:
            headers["Allow"] = ", ".join(sorted(METHODS))
        line = httputil.ResponseStartLine("HTTP/1.1", status, responses[status])
        self._connection._disconnect_on_finish = True
        self._connection.write_headers(line, headers, body)
        self._connection.finish()
