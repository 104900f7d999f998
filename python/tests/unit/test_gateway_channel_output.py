"""Output of a kernel without a mailbox: what cannot wait for its client is dropped, in words."""

import json

import pytest
from jupyter_client.session import Session

from gateway_provisioners.gateway.websocket.channel_output import ChannelOutput
from gateway_provisioners.gateway.websocket.client_limits import ClientLimit
from gateway_provisioners.gateway.websocket.client_writer import ClientWriter
from gateway_provisioners.gateway.websocket.rates import OutputRate

SESSION = Session(key=b"key")
CELL = {"msg_id": "cell", "msg_type": "execute_request"}
TEXT = {"name": "stdout", "text": "text"}


class Outbox:
    """Has room for ordinary messages, or for urgent ones, or for none."""

    def __init__(self):
        self.messages = []
        self.keeps = self.keeps_urgent = True

    def can_keep(self, _size, _most, *, urgent=False):
        return self.keeps_urgent if urgent else self.keeps

    def write(self, parts, *, binary, on_written=None):
        assert (binary, on_written) == (False, None)
        self.messages += [json.loads(b"".join(parts))] if parts else []
        return True

    def take_all(self):
        """Return the types of the messages, and the sentences in them."""
        messages, self.messages = self.messages, []
        return [m["msg_type"] for m in messages], "".join(
            m["content"]["text"] for m in messages if m["content"].get("name") == "stderr"
        )


@pytest.fixture
def outbox():
    return Outbox()


@pytest.fixture
def output(outbox):
    writer = ClientWriter(
        *("kernel", SESSION, outbox),
        v1=False,
        max_bytes=2**20,
        client_limit=ClientLimit(0, ""),
        administrator="the administrator",
        rate=OutputRate(0, 0),
        traceback_words="",
    )
    return ChannelOutput(writer, outbox, 2**20)


def frames(kind, content, parent=CELL):
    message = {**SESSION.msg(kind, content), "parent_header": parent}
    return SESSION.serialize(message)


def test_output_that_cannot_wait_is_dropped_and_reported(output, outbox):
    outbox.keeps = False
    for _ in range(2):
        assert output.forward("iopub", frames("stream", TEXT))
    assert output.forward("iopub", frames("status", {"execution_state": "idle"}))
    assert outbox.take_all() == (["status"], "")
    outbox.keeps = True
    assert output.forward("iopub", frames("stream", TEXT))
    kinds, words = outbox.take_all()
    assert kinds == ["stream", "stream"]
    assert words.startswith("2 messages of this cell")
    output.report_losses()
    assert outbox.take_all() == ([], "")


@pytest.mark.parametrize(
    ("channel", "kind"), [("shell", "execute_reply"), ("iopub", "status"), ("stdin", "stream")]
)
def test_client_that_leaves_no_room_for_a_reply_is_given_up(output, outbox, channel, kind):
    outbox.keeps = outbox.keeps_urgent = False
    assert not output.forward(channel, frames(kind, {}))
    assert not output.losses


def test_malformed_message_that_cannot_wait_is_ignored(output, outbox):
    outbox.keeps = False
    assert output.forward("iopub", [b"x"])
    assert outbox.take_all() == ([], "")


def test_cell_ends_when_its_idle_status_was_cut_off(output, outbox):
    output.end_cell()
    output.forward("shell", frames("execute_reply", {"status": "ok"}))
    assert outbox.take_all()[0] == ["status", "execute_reply", "status"]
    output.forward("iopub", frames("status", {"execution_state": "busy"}))
    output.forward("shell", frames("execute_reply", {"status": "ok"}))
    assert outbox.take_all()[0] == ["status", "execute_reply"]
