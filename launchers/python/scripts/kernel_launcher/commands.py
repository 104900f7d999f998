"""The communication port: signals and other commands from the gateway (protocol/SPEC.md).

Every connection has a deadline and a size limit and never waits for another, so a silent or
garbled one does not delay the others.
"""

from __future__ import annotations

import selectors
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kernel_launcher import wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    Act = Callable[[dict[str, Any]], dict[str, Any]]

MAX_CONNECTIONS = 32
MAX_BYTES = 4096
SECONDS = 5.0


class _Connection:
    def __init__(self, sock: socket.socket, peer: str, challenge: str) -> None:
        self.sock = sock
        self.peer = peer
        self.challenge = challenge
        self.received = b""
        self.deadline = time.monotonic() + SECONDS


class CommandListener:
    """Serves the communication port from the caller's event loop.

    Args:
        selector: the sockets are registered here, each with the function to call as its data.
        sock: bound; listens from now on.
        launch_key: authenticates commands; None to obey those of version 1, which are not
            authenticated.
        act: carries out a command and returns the reply.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        sock: socket.socket,
        launch_key: wire.LaunchKey | None,
        act: Act,
    ) -> None:
        self._selector = selector
        self._sock = sock
        self._launch_key = launch_key
        self._act = act
        self._connections: list[_Connection] = []  # oldest first
        sock.setblocking(False)
        sock.listen(MAX_CONNECTIONS)
        selector.register(sock, selectors.EVENT_READ, self._accept)

    def expire(self) -> float | None:
        """Drop the connections that took too long.

        Returns:
            Seconds until this must be called again, None when no connection is open.
        """
        now = time.monotonic()
        while self._connections and self._connections[0].deadline <= now:
            self._drop(self._connections[0])
        return self._connections[0].deadline - now if self._connections else None

    def close(self) -> None:
        """Stop listening; may be called again."""
        if self._sock.fileno() >= 0:
            self._selector.unregister(self._sock)
            self._sock.close()
        while self._connections:
            self._drop(self._connections[0])

    def _accept(self) -> None:
        try:
            sock, address = self._sock.accept()
        except OSError:  # it has already been closed
            return
        sock.setblocking(False)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._drop_one()
        connection = _Connection(sock, address[0], wire.new_challenge())
        self._connections.append(connection)
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._read(connection))
        if self._launch_key:
            self._send(connection, wire.challenge_line(connection.challenge))

    def _drop_one(self) -> None:
        """Make room at the expense of the address with the most connections."""
        busiest = Counter(c.peer for c in self._connections).most_common(1)[0][0]
        self._drop(next(c for c in self._connections if c.peer == busiest))

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.sock.recv(MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        connection.received += data
        complete = b"\n" in connection.received if self._launch_key else not data
        if complete:
            self._serve(connection)
        if complete or not data or len(connection.received) > MAX_BYTES:
            self._drop(connection)

    def _serve(self, connection: _Connection) -> None:
        try:
            if self._launch_key:
                line = connection.received.partition(b"\n")[0]
                command = self._launch_key.open_command(line, connection.challenge)
            else:
                command = wire.parse(connection.received)
        except wire.WireError:
            return
        answer = self._act(command)
        if self._launch_key:
            self._send(connection, self._launch_key.reply(answer, connection.challenge))
        if command.get("shutdown"):
            self.close()

    def _send(self, connection: _Connection, data: bytes) -> None:
        # A few hundred bytes on a fresh connection always fit its send buffer.
        with suppress(OSError):
            connection.sock.send(data)

    def _drop(self, connection: _Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._selector.unregister(connection.sock)
            connection.sock.close()
