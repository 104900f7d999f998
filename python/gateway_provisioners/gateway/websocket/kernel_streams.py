"""The streams to the channels of a kernel without a mailbox."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jupyter_client.manager import KernelManager


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
