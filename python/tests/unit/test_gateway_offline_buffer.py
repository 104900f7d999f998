"""What is kept of a kernel's messages while nobody listens."""

from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.gateway.websocket.offline_buffer import OfflineBuffer

messages = st.lists(st.tuples(st.sampled_from(["iopub", "shell"]), st.lists(st.binary(max_size=9))))


@given(messages, st.integers(0, 40))
def test_the_newest_are_kept_in_their_order(said, most_bytes):
    buffer = OfflineBuffer(most_bytes)
    for message in said:
        buffer.append(message)
    assert list(buffer) == said[buffer.dropped :]
    assert len(buffer) + buffer.dropped == len(said)
    assert sum(len(part) for _, parts in buffer for part in parts) <= most_bytes


@given(messages)
def test_nothing_is_dropped_while_there_is_room(said):
    buffer = OfflineBuffer(10**6)
    for message in said:
        buffer.append(message)
    assert list(buffer) == said
