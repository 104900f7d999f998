import struct

import pytest
from gateway_provisioners_client.session.frames import MalformedMessage, from_v1, to_v1

PARTS = [b"{}", b"{}", b"{}", b'{"a": 1}', b"", bytes(range(256))]


def test_a_message_survives_its_frame():
    assert from_v1(to_v1("shell", PARTS)) == ("shell", PARTS)


def test_frames_are_those_of_jupyter_server():
    # 8 offsets, of which the first is that of the channel.
    frame = to_v1("iopub", PARTS[:5])
    assert frame[:16] == bytes([7, *[0] * 7, 64, *[0] * 7])
    assert frame[64:] == b'iopub{}{}{}{"a": 1}'


@pytest.mark.attack(22)
@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00" * 7,
        b"\x00" * 64,
        b"\xff" * 64,
        to_v1("shell", PARTS)[:-1],
        to_v1("shell", PARTS) + b"x",
        to_v1("shell", PARTS[:3]),
        to_v1("hb", PARTS),
        to_v1("shell", [*PARTS, *[b""] * 65_536]),
        # The parts overlap.
        struct.pack("<8Q", 7, 64, 69, 71, 70, 73, 80, 80) + b"shell{}{}{}{}",
    ],
)
def test_a_frame_that_is_no_message_is_refused(frame):
    with pytest.raises(MalformedMessage):
        from_v1(frame)
