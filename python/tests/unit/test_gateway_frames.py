"""The frames of a 0MQ connection, counted by their headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.channels.frames import FrameCounter

GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\x01" + b"\0" * 52


def frame(size, flags=0):
    if size > 255:
        return bytes([flags | 2]) + size.to_bytes(8, "big") + b"x" * size
    return bytes([flags, size]) + b"x" * size


@given(
    st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(0, 600)), max_size=20),
    st.integers(1, 80),
)
def test_frames_are_counted_however_they_are_cut(frames, step):
    data = GREETING + b"".join(frame(size, flags) for flags, size in frames)
    counter = FrameCounter()
    counts = [counter.count(data[n : n + step]) for n in range(0, len(data), step)]
    assert sum(counts) == len(frames)


def test_commands_are_counted():
    """0MQ passes subscriptions on like messages, and keeps them until they are taken."""
    assert FrameCounter().count(memoryview(GREETING + frame(30, 4) + frame(0, 1) + frame(0))) == 3


@pytest.mark.parametrize("size", [2**40, 2**64 - 1])
def test_frame_that_never_ends_is_one(size):
    counter = FrameCounter()
    assert counter.count(GREETING + b"\x03" + size.to_bytes(8, "big")) == 1
    assert counter.count(b"\0" * 1000) == 0


@pytest.mark.parametrize(
    "greeting",
    [
        b"\xff" + b"\0" * 8 + b"\x7f" + b"\x01",  # ZMTP 2
        b"\xff" + b"\0" * 7 + b"\x01\0" + b"\x03",  # ZMTP 1, with a long first frame
        b"\x01\x00",  # ZMTP 1
        b"GET / HTTP/1.1",
    ],
)
def test_older_protocol_whose_frames_are_others_is_refused(greeting):
    with pytest.raises(ProtocolError):
        FrameCounter().count(greeting)
    counter = FrameCounter()
    with pytest.raises(ProtocolError):
        sum(counter.count(bytes([byte])) for byte in greeting)
