"""Jupyter's own channels of a kernel, over metered connections."""

from __future__ import annotations

from functools import partial
from typing import Any

import zmq
from jupyter_client.manager import KernelManager
from zmq.eventloop.zmqstream import ZMQStream

from gateway_provisioners.gateway.channels.metered import MeteredConnection
from gateway_provisioners.gateway.process.limits import Limits

# The same as that of jupyter_client's channels.
_LINGER_MILLISECONDS = 1000
_KINDS = {
    "shell": zmq.DEALER,
    "control": zmq.DEALER,
    "stdin": zmq.DEALER,
    # SUB drops messages of other topics after it has read them: the meter would count them forever.
    "iopub": zmq.XSUB,
    "hb": zmq.REQ,
}


class KernelSocket(zmq.Socket[bytes]):
    """A socket whose messages are counted by its metered connection, which is `meter`."""

    meter: MeteredConnection

    def send_multipart(self, msg_parts: Any, *args: Any, **kwargs: Any) -> Any:
        self.meter.sent(msg_parts)
        return super().send_multipart(msg_parts, *args, **kwargs)

    def recv_multipart(self, *args: Any, **kwargs: Any) -> Any:
        frames = super().recv_multipart(*args, **kwargs)
        self.meter.consumed(frames)
        return frames

    def subscribe(self, topic: str | bytes) -> None:
        """Have the kernel send what has topics that begin like this."""
        self._choose(b"\1", topic)

    def unsubscribe(self, topic: str | bytes) -> None:
        """Take back a subscription."""
        self._choose(b"\0", topic)

    def _choose(self, command: bytes, topic: str | bytes) -> None:
        self.send_multipart([command + (topic.encode() if isinstance(topic, str) else topic)])

    def close(self, linger: int | None = None) -> None:
        """Close the socket and its connection; what was sent still leaves within the linger time."""
        super().close(linger)
        self.meter.close()


class KernelStream(ZMQStream):
    """A stream of one channel."""

    socket: KernelSocket

    def __init__(self, socket: KernelSocket) -> None:
        super().__init__(socket)
        socket.meter.is_starved = self._is_starved

    def on_recv(self, callback: Any, copy: bool = True) -> None:
        """Call `callback` with each message; None leaves them waiting with the kernel."""
        super().on_recv(callback, copy)
        self.socket.meter.resume()

    def _is_starved(self) -> bool:
        if self.closed() or not self.receiving():
            return False
        if int(self.socket.EVENTS) & zmq.POLLIN:
            # The look has cleared the descriptor that announces the message.
            self.io_loop.add_callback(self._handle_events, self.socket, 0)
            return False
        return True


def connect(
    kernel: KernelManager, channel: str, limits: Limits, identity: bytes | None = None
) -> KernelSocket:
    """Return a socket that is connected to a channel of a kernel, without a subscription."""
    sock: KernelSocket = zmq.Context.socket(
        kernel.context, _KINDS[channel], socket_class=KernelSocket
    )
    encrypted = kernel.curve_publickey is not None
    port: int = getattr(kernel, f"{channel}_port")
    sock.meter = MeteredConnection(kernel.ip, port, limits, encrypted=encrypted)
    sock.meter.on_ended = partial(_connect_again, sock)
    sock.linger = _LINGER_MILLISECONDS
    # What does not fit would wait in the stream, uncounted.
    sock.sndhwm = 0
    # 0MQ ends a connection then only if it makes no sense of it.
    sock.handshake_ivl = 0
    if identity:
        sock.routing_id = identity
    if encrypted:
        sock.curve_secretkey = kernel.curve_secretkey
        sock.curve_publickey = kernel.curve_publickey
        sock.curve_serverkey = kernel.curve_publickey
    sock.connect(sock.meter.endpoint)
    return sock


def _connect_again(sock: KernelSocket) -> None:
    # 0MQ would ignore a second connection to the same endpoint.
    sock.disconnect(sock.meter.endpoint)
    sock.connect(sock.meter.endpoint)
