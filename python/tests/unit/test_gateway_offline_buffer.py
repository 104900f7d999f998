"""The buffer for a kernel's messages while no client is connected."""

from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.gateway.websocket.offline_buffer import OfflineBuffer

messages = st.lists(st.tuples(st.sampled_from(["iopub", "shell"]), st.lists(st.binary(max_size=9))))


@given(messages, st.integers(0, 40))
def test_the_newest_messages_are_kept_in_order(sent, max_bytes):
    buffer = OfflineBuffer(max_bytes)
    for message in sent:
        buffer.append(message)
    assert list(buffer) == sent[buffer.dropped :]
    assert len(buffer) + buffer.dropped == len(sent)
    assert sum(len(part) for _, parts in buffer for part in parts) <= max_bytes


@given(messages)
def test_nothing_is_dropped_below_the_limit(sent):
    buffer = OfflineBuffer(10**6)
    for message in sent:
        buffer.append(message)
    assert list(buffer) == sent
