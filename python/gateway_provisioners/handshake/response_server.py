"""The response address, where launchers report their kernel's connection info.

Any process in the cluster may connect. A connection costs a bounded amount of memory for a bounded
time and never waits for another one, so that a silent, slow, malformed or forged one delays no
other; the server never answers. Reports that are authenticated with the launch's own key (version
2) are trusted; others (version 1) are passed on with the address that they came from.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import cast

from gateway_provisioners.errors import ConfigurationError, ProtocolError
from gateway_provisioners.handshake import payload
from gateway_provisioners.model.addresses import in_url, plain_form
from gateway_provisioners.model.connection_info import ConnectionInfo

_log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024
READ_SECONDS = 10.0
MAX_CONNECTIONS = 512
# Unauthenticated arrivals that one launch keeps, one per address: until the address of its own pod is
# known, each may be the right one. Each has about 2 KiB.
MAX_CLAIMS = 1024
# Those of all launches together.
MAX_ALL_CLAIMS = 8192
# SO_LINGER on, for 0 seconds: closing resets the connection (socket(7)).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
# RSA operations (1 ms each, in one thread) that wait per address and altogether.
MAX_OPENING_PER_PEER = 4
MAX_OPENING = 256
# Useless reports of one address, which cost up to 2 ms each: so many at once, and then one each 100 ms.
BURST = 20
SECONDS_PER_REPORT = 0.1
MAX_ADDRESSES = 1024


@dataclass(frozen=True)
class Arrival:
    """Connection info that arrived for an expected kernel.

    Attributes:
        peer_ip: the address it was sent from.
        protocol: 2 if the sender proved that it has the launch key; 1 if any process could have
            sent it, so that the caller must compare `peer_ip` with the kernel's address.
        time: when it arrived, on the event loop's clock.
        secret: authenticates commands to the launcher from now on; None with version 1.
    """

    connection_info: ConnectionInfo
    peer_ip: str
    protocol: int
    time: float = 0.0
    secret: str | None = field(default=None, repr=False)


class Expectation:
    """A launch that waits for its kernel to report."""

    def __init__(self, kernel_id: str, launch_key: str | None) -> None:
        self.kernel_id = kernel_id
        self._launch_key = launch_key
        self.bound_to = ""
        """The address that its launcher connects to, as the server is bound to it."""
        self._has_reported = False
        self._proven: Arrival | None = None
        self._claims: dict[str, Arrival] = {}
        self._arrived = asyncio.Event()

    async def next_arrival(self) -> Arrival:
        """Wait for connection info; authenticated info comes first, then the oldest."""
        await self._arrived.wait()
        if self._proven:
            arrival, self._proven = self._proven, None
        else:
            arrival = self._claims.pop(next(iter(self._claims)))
        if not self._claims and not self._proven:
            self._arrived.clear()
        return arrival

    @property
    def claims(self) -> int:
        """The number of unauthenticated arrivals that are kept."""
        return len(self._claims)

    def open(self, envelope: payload.V2Envelope, peer_ip: str) -> None:
        """Authenticate a payload that claims to be this launch's, and keep it for `next_arrival`.

        Raises:
            ProtocolError: it is not this launch's, or not its first.
        """
        if self._launch_key is None:
            raise ProtocolError("the launch has no launch key")
        info, secret = payload.open_v2(envelope, self._launch_key)
        if self._has_reported:  # code in the kernel may have read the launch key
            raise ProtocolError("the launch has already reported")
        self._has_reported = True
        now = asyncio.get_running_loop().time()
        self._proven = Arrival(info, peer_ip, 2, now, secret)
        self._arrived.set()

    def claim(self, info: ConnectionInfo, peer_ip: str) -> None:
        """Keep unauthenticated connection info for `next_arrival`, once for each address.

        Raises:
            ProtocolError: too many addresses claim to be this kernel.
        """
        if peer_ip not in self._claims and len(self._claims) >= MAX_CLAIMS:
            raise ProtocolError("too many addresses claim to be its kernel")
        self._claims[peer_ip] = Arrival(info, peer_ip, 1, asyncio.get_running_loop().time())
        self._arrived.set()


class ResponseServer:
    """Listens on response addresses and passes what arrives to the launches that expect it.

    Args:
        ip: the address that all launchers connect to, on which it listens from `start` on; "" if each launch
            has its own: see `listen`.
        port: the port to listen on; 0 for any.
        port_retries: how many of the following ports to try when that one is taken.
        gateway_key: opens payloads of protocol version 1.
        bind_any: listen on all addresses instead of the one that launchers connect to.
    """

    def __init__(
        self,
        ip: str,
        port: int,
        port_retries: int,
        gateway_key: payload.GatewayKey,
        *,
        bind_any: bool = False,
    ) -> None:
        self._ip = ip
        self._ports = range(port, port + port_retries + 1) if port else range(1)
        self._gateway_key = gateway_key
        self._bind_any = bind_any
        self._running = False
        # Both by the address that a listener is bound to.
        self._listeners: dict[str, asyncio.Server] = {}
        self._port_of: dict[str, int] = {}
        self._listening = asyncio.Lock()
        self._expected: dict[str, Expectation] = {}
        self._connections: dict[_Connection, str] = {}  # to the peer's address; oldest first
        self._opening: Counter[str] = Counter()
        self._received: dict[_Connection, bytes] = {}  # to what it sent; oldest first
        self._turn: asyncio.Handle | None = None
        self._due: dict[str, float] = {}  # by address, when its next useless report would be due
        self._rsa = ThreadPoolExecutor(1, "response-server")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def response_address(self) -> str:
        """The `ip:port` that all launchers connect to; "" if each launch has its own."""
        return self._address(self._ip) if self._ip else ""

    @property
    def public_key(self) -> str:
        """The value of PUBLIC_KEY for launchers of protocol version 1."""
        return self._gateway_key.public_key

    @property
    def listening(self) -> bool:
        """True while launchers can report."""
        return self._running and all(each.is_serving() for each in self._listeners.values())

    async def start(self) -> None:
        """Listen for reports, if the address is known already.

        Raises:
            ConfigurationError: this host does not have the address, or no port is free.
        """
        self._running = True
        if self._ip:
            await self._listen(self._bound_to(self._ip))
            _log.info("Kernels report to %s", self.response_address)

    async def listen(self, expectation: Expectation, ip: str) -> str:
        """Listen on an address of this host, for the launcher of one launch; return the `ip:port` for it.

        Listeners that no launch needs any more are closed when another one is opened.

        Raises:
            ConfigurationError: this host does not have the address, or no port is free.
        """
        bound_to = expectation.bound_to = self._bound_to(ip)
        async with self._listening:
            if bound_to not in self._listeners:
                needed = {self._bound_to(self._ip)}
                needed.update(each.bound_to for each in self._expected.values())
                for other in self._listeners.keys() - needed:
                    self._listeners.pop(other).close()
                    del self._port_of[other]
                await self._listen(bound_to)
                _log.info("Kernels report to %s", self._address(ip))
        return self._address(ip)

    def _bound_to(self, ip: str) -> str:
        if not self._bind_any or not ip:
            return ip
        return "::" if ipaddress.ip_address(ip).version == 6 else "0.0.0.0"  # noqa: S104

    def _address(self, ip: str) -> str:
        """Return the `ip:port` for launchers."""
        port = self._port_of.get(self._bound_to(ip), 0)
        return f"{in_url(ip)}:{port}"

    async def _listen(self, ip: str) -> None:
        loop = asyncio.get_running_loop()
        for port in self._ports:
            try:
                server = await loop.create_server(
                    lambda: _Connection(self), ip, port, backlog=MAX_CONNECTIONS
                )
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise ConfigurationError(
                        f"cannot listen on the response address {ip}: {error.strerror}; set"
                        " GP_RESPONSE_IP to an address of this host, or GP_RESPONSE_ADDR_ANY to true"
                    ) from error
                _log.info("Response port %d cannot be used: %s", port, error.strerror)
            else:
                self._listeners[ip] = server
                self._port_of[ip] = server.sockets[0].getsockname()[1]
                return
        raise ConfigurationError(
            f"none of the response ports {self._ports[0]} to {self._ports[-1]} can be used;"
            " change GP_RESPONSE_PORT or GP_RESPONSE_PORT_RETRIES"
        )

    async def stop(self) -> None:
        """Close the ports and every connection to them."""
        if not self._running:
            return
        self._running = False
        servers = list(self._listeners.values())
        self._listeners.clear()
        for server in servers:
            server.close()
        if self._turn is not None:
            self._turn.cancel()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.gather(*(server.wait_closed() for server in servers))
        await asyncio.gather(*self._tasks)
        self._rsa.shutdown(wait=False)

    @contextlib.contextmanager
    def expect(self, kernel_id: str, launch_key: str | None) -> Iterator[Expectation]:
        """Expect the report of a launch, in place of an earlier launch of the same kernel.

        Reports that arrive after the context are dropped.

        Args:
            kernel_id: as in the launcher's environment.
            launch_key: the launch's secret (`payload.new_launch_key`), if it has one.
        """
        expectation = self._expected[kernel_id] = Expectation(kernel_id, launch_key)
        try:
            yield expectation
        finally:
            if self._expected.get(kernel_id) is expectation:  # and not a later launch's
                del self._expected[kernel_id]

    def admit(self, connection: _Connection, peer_ip: str) -> None:
        """Make room for a connection at the expense of the address that takes most of it."""
        if len(self._connections) >= MAX_CONNECTIONS:
            busiest = Counter(self._connections.values()).most_common(1)[0][0]
            next(c for c, ip in self._connections.items() if ip == busiest).abort()
            _log.info("Dropped a silent connection from %s to make room", busiest)
        self._connections[connection] = peer_ip

    def leave(self, connection: _Connection) -> None:
        """Drop a connection that has ended, with what it sent."""
        self._connections.pop(connection, None)
        self._received.pop(connection, None)

    def receive(self, connection: _Connection, blob: bytes) -> None:
        """Process what a peer sent, in its turn, and then close the connection."""
        if not self._expected:
            connection.close()  # no launch is waiting
            return
        self._received[connection] = blob
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._process_next)

    def _process_next(self) -> None:
        """Process one report: others have their turn on the event loop before the next."""
        self._turn = None
        if not self._received:  # their connections have ended meanwhile
            return
        connection = next(iter(self._received))
        blob, peer_ip = self._received.pop(connection), self._connections[connection]
        if self._received:
            self._turn = asyncio.get_running_loop().call_soon(self._process_next)
        if self._is_flooding(peer_ip):
            connection.abort()
            return
        try:
            read = self._process(blob, peer_ip)
        except ProtocolError as error:
            self._ignore(peer_ip, error)
            read = True
        if read:
            connection.close()
        else:
            connection.abort()

    def _is_flooding(self, peer_ip: str) -> bool:
        """Return whether an address has sent too many useless reports to be read now."""
        now = asyncio.get_running_loop().time()
        return self._due.get(peer_ip, 0) > now + BURST * SECONDS_PER_REPORT

    def _ignore(self, peer_ip: str, error: ProtocolError) -> None:
        """Log and count a report that is of no use."""
        _log.info("Ignored a payload from %s: %s", peer_ip, error)
        now = asyncio.get_running_loop().time()
        if len(self._due) >= MAX_ADDRESSES:
            self._due = {ip: due for ip, due in self._due.items() if due > now}
        if len(self._due) < MAX_ADDRESSES:
            self._due[peer_ip] = max(self._due.get(peer_ip, 0), now) + SECONDS_PER_REPORT

    def _process(self, blob: bytes, peer_ip: str) -> bool:
        """Process a report; return False if there is no room for it now.

        Raises:
            ProtocolError: it is not a report of a launch that is waiting.
        """
        envelope = payload.parse_envelope(blob)
        if isinstance(envelope, payload.V1Envelope):
            return self._open_v1(envelope, peer_ip)
        self._expectation(envelope.kernel_id).open(envelope, peer_ip)
        return True

    def _expectation(self, kernel_id: str) -> Expectation:
        try:
            return self._expected[kernel_id]
        except KeyError:
            raise ProtocolError("no launch of that kernel is waiting for a report") from None

    def _open_v1(self, envelope: payload.V1Envelope, peer_ip: str) -> bool:
        """Open a report in the background; return False if too many wait for that."""
        if not self._expected:
            raise ProtocolError("no launch is waiting for a report")
        if self._opening[peer_ip] >= MAX_OPENING_PER_PEER or self._opening.total() >= MAX_OPENING:
            return False
        self._opening[peer_ip] += 1
        task = asyncio.get_running_loop().create_task(self._finish_v1(envelope, peer_ip))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _finish_v1(self, envelope: payload.V1Envelope, peer_ip: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            kernel_id, info = await loop.run_in_executor(
                self._rsa, payload.open_v1, envelope, self._gateway_key
            )
            expectation = self._expectation(kernel_id)
            if sum(each.claims for each in self._expected.values()) >= MAX_ALL_CLAIMS:
                raise ProtocolError("too many claims are kept")  # noqa: TRY301
            expectation.claim(info, peer_ip)
        except ProtocolError as error:
            self._ignore(peer_ip, error)
        finally:
            self._opening[peer_ip] -= 1
            if not self._opening[peer_ip]:
                del self._opening[peer_ip]


class _Connection(asyncio.Protocol):
    """One peer, which sends one payload and ends the stream."""

    def __init__(self, server: ResponseServer) -> None:
        self._server = server
        self._received = bytearray()
        self._peer_ip = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._deadline = asyncio.get_running_loop().call_later(READ_SECONDS, self.abort)
        peer = transport.get_extra_info("peername")
        if peer is None:  # it has already closed the connection
            self.abort()
            return
        self._peer_ip = plain_form(peer[0])
        self._server.admit(self, self._peer_ip)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > MAX_BYTES:
            self.abort()

    def eof_received(self) -> bool:
        if not self._received:  # probes send nothing
            return False
        self._server.receive(self, bytes(self._received))
        return True  # the server closes the connection

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._deadline.cancel()
        self._server.leave(self)

    def close(self) -> None:
        """Close the connection, which says that the report was read."""
        self._transport.close()

    def abort(self) -> None:
        """Reset the connection, so that the launcher knows that its report was not read."""
        self._server.leave(self)
        # To a launcher, an orderly close would mean that the report was read.
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
        )
        self._transport.abort()
