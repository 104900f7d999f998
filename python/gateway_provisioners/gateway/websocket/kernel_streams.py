"""The streams to the channels of a kernel without a mailbox."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jupyter_client.manager import KernelManager
from jupyter_client.session import Session

# A kernel answers within 10 ms, and its subscription needs a round trip more.
_ASK_AGAIN_SECONDS = 0.05


def open_streams(kernel: KernelManager, channels: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Connect to a kernel's channels one by one; yield the name and the stream of each."""
    # Upstream's streams all identify themselves by the client's session. Of two streams with the same
    # identity, such as those of two gateways between which a client moves, a kernel serves the first.
    identity = uuid.uuid4().hex.encode()
    for channel in channels:
        stream = getattr(kernel, f"connect_{channel}")(identity=identity)
        stream.channel = channel
        yield channel, stream


def meter_of(stream: Any) -> Any:
    """Return what measures and bounds a stream; None for those of stock kernel managers."""
    return getattr(stream.socket, "meter", None)


def bytes_in_transit(streams: Mapping[str, Any]) -> int:
    """Return how many bytes were sent and have not left for the kernel."""
    meters = (meter_of(stream) for stream in streams.values())
    return sum(meter.waiting for meter in meters if meter is not None)


def close_streams(streams: Mapping[str, Any]) -> None:
    """Disconnect from the channels, and receive nothing more of them."""
    for stream in streams.values():
        if not stream.closed():
            stream.on_recv(None)
            stream.close()


def ask_again_soon(kernel: KernelManager, session: Session, nudged: asyncio.Future[None]) -> None:
    """Send a second request, in case the subscription came too late for the kernel's first answer.

    Upstream sends the kernel a request to see that its messages arrive. An answer that the kernel
    publishes before the subscription has reached it is lost; upstream asks again only after 500 ms.
    That happens in one of a hundred connections, and more often on a busy machine.

    Args:
        nudged: done when the kernel's messages are known to arrive.
    """

    def ask() -> None:
        channel = kernel.connect_control()
        session.send(channel, "kernel_info_request")
        nudged.add_done_callback(lambda _: channel.close())

    timer = asyncio.get_running_loop().call_later(_ASK_AGAIN_SECONDS, ask)
    nudged.add_done_callback(lambda _: timer.cancel())
