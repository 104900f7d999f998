"""The messages that a client gets: those of its kernel, or words in their place."""

import json

import pytest
from jupyter_client.session import Session

from gateway_provisioners.gateway.websocket.client_limits import ClientLimit
from gateway_provisioners.gateway.websocket.client_writer import ClientWriter
from gateway_provisioners.gateway.websocket.rates import OutputRate

MIB = 2**20
SESSION = Session(key=b"key")
PARENT = {"msg_id": "cell", "msg_type": "execute_request"}


class Outbox:
    """Takes all messages; its budget may be used up."""

    def __init__(self):
        self.messages = []
        self.written = 0
        self.has_budget = True

    def write(self, parts, *, binary, on_written=None):
        if parts:
            self.messages.append(json.loads(b"".join(parts)))
        if on_written is not None:
            self.written += 1
            on_written()
        return self.has_budget

    def words(self):
        return "".join(m["content"].get("text", "") for m in self.messages)


@pytest.fixture
def outbox():
    return Outbox()


def writer_of(outbox, **changes):
    defaults = {
        "v1": False,
        "max_bytes": 2 * MIB,
        "client_limit": ClientLimit(0, ""),
        "administrator": "the administrator",
        "rate": OutputRate(0, 0),
        "traceback_words": "",
    }
    return ClientWriter("k", SESSION, outbox, **{**defaults, **changes})


def frames(kind, content, parent=PARENT):
    message = SESSION.msg(kind, content)
    message["parent_header"] = parent
    parts = [SESSION.pack(message[n]) for n in ("header", "parent_header", "metadata", "content")]
    return signed(parts)


def signed(parts):
    return [b"<IDS|MSG>", SESSION.sign(parts), *parts]


def kinds(outbox):
    return [message["msg_type"] for message in outbox.messages]


def test_message_with_a_wrong_signature_is_not_shown(outbox):
    writer = writer_of(outbox)
    message = frames("stream", {"name": "stdout", "text": "x"})
    message[1] = b"0" * 64
    written = []
    assert writer.forward("iopub", message, lambda: written.append(1))
    writer.forward("iopub", message)
    words = "A malformed message of the kernel is not shown: its signature is wrong.\n"
    assert (outbox.words(), written) == (words, [1])
    writer.verifies = False
    writer.forward("iopub", message)
    assert outbox.words() == f"{words}x"


@pytest.mark.parametrize(
    ("channel", "kind", "content", "answers"),
    [
        ("iopub", "display_data", {"data": {"a": "x" * 3 * MIB}}, ["stream"]),
        ("shell", "execute_reply", {"status": "x" * 3 * MIB}, ["stream", "execute_reply"]),
        ("stdin", "input_request", {"prompt": "x" * 3 * MIB}, ["stream", "input_request"]),
    ],
)
@pytest.mark.parametrize("whose", ["gateway", "client"])
def test_message_too_large_becomes_words(outbox, channel, kind, content, answers, whose):
    most = {"client_limit": ClientLimit(MIB, "this client"), "max_bytes": 9 * MIB}
    writer = writer_of(outbox, **(most if whose == "client" else {}))
    reasons = []
    writer.on_replaced = reasons.append
    written = []
    writer.forward(channel, frames(kind, content), lambda: written.append(1))
    assert kinds(outbox) == answers
    assert all(message["parent_header"] == PARENT for message in outbox.messages)
    assert "3.0 MiB" in outbox.words()
    assert {"gateway": "maxMessageBytes.fromKernel", "client": "this client"}[
        whose
    ] in outbox.words()
    assert written == [1]
    assert reasons == ["too_large" if whose == "gateway" else "client_limit"]


@pytest.mark.parametrize("most", [1, 1000, MIB])
def test_text_too_large_for_the_client_comes_in_pieces(outbox, most):
    writer = writer_of(outbox, client_limit=ClientLimit(most, "this client"), max_bytes=9 * MIB)
    text = "é\n" * 2**19
    writer.forward("iopub", frames("stream", {"name": "stdout", "text": text}))
    assert outbox.words() == text
    assert len(outbox.messages) > 1


def test_pieces_without_a_share_stay_on_their_sources_account(outbox):
    writer = writer_of(outbox, client_limit=ClientLimit(MIB, "this client"))
    outbox.has_budget = False
    assert not writer.forward(
        "iopub", frames("stream", {"name": "stdout", "text": "x" * (MIB + 1)})
    )


@pytest.mark.parametrize("most", [1, 1000])
def test_client_that_takes_next_to_nothing_gets_words(outbox, most):
    writer = writer_of(outbox, client_limit=ClientLimit(most, "this client"))
    writer.forward("iopub", frames("display_data", {"data": {"a": "x" * 2000}}))
    writer.say("words", PARENT)
    writer.answer_with_error("shell", PARENT, "reason")
    assert "words" in outbox.words()
    assert "execute_reply" in kinds(outbox)


@pytest.mark.parametrize("value", ['"\\ud800"', "NaN", "1e999", "[" * 900 + "]" * 900])
@pytest.mark.parametrize("v1", [True, False])
def test_words_in_a_cell_with_a_strange_parent_are_written(value, v1):
    parent = f'{{"msg_id": {value}}}'.encode()
    written = []

    class Counting(Outbox):
        def write(self, parts, **_):
            written.extend(parts)
            return True

    writer = writer_of(Counting(), v1=v1, max_bytes=1)
    parts = [b'{"msg_type": "x_reply"}', parent, b"{}", b"{}"]
    writer.forward("shell", signed(parts))
    assert b"x_reply" in b"".join(written)


def test_tracebacks_are_hidden_where_clients_may_not_see_them(outbox):
    writer = writer_of(outbox, traceback_words="hidden")
    writer.forward("iopub", frames("error", {"ename": "E", "evalue": "e", "traceback": ["secret"]}))
    assert outbox.messages[0]["content"]["traceback"] == ["hidden"]
    assert "secret" not in json.dumps(outbox.messages)


def test_rate_is_named_once_in_each_cell_and_statuses_pass(outbox):
    writer = writer_of(outbox, rate=OutputRate(0, 1, lambda: 0.0))
    for _ in range(10):
        writer.forward("iopub", frames("stream", {"name": "stdout", "text": "."}))
    writer.forward("iopub", frames("status", {"execution_state": "busy"}))
    assert kinds(outbox) == ["stream"] * 4 + ["status"]
    assert outbox.words().count("gateway.outputRate") == 1


def test_kept_messages_do_not_count_for_the_rate(outbox):
    writer = writer_of(outbox, rate=OutputRate(0, 1, lambda: 0.0))
    for _ in range(10):
        writer.forward("iopub", frames("stream", {"name": "stdout", "text": "."}), kept=True)
    assert outbox.words() == "." * 10


TEXT_ONLY = ClientLimit(0, "", text_only=True)
EXECUTING = {**PARENT, "msg_type": "execute_request"}


@pytest.mark.parametrize(
    ("channel", "kind", "answers"),
    [
        ("iopub", "comm_open", ["stream"]),
        ("shell", "execute_reply", ["stream", "execute_reply"]),
        ("stdin", "input_request", ["stream", "input_request"]),
    ],
)
def test_binary_data_becomes_words_for_a_client_of_text(outbox, channel, kind, answers):
    writer = writer_of(outbox, client_limit=TEXT_ONLY)
    reasons, written = [], []
    writer.on_replaced = reasons.append
    message = [*frames(kind, {"data": {}}, EXECUTING), b"\xff"]
    assert writer.forward(channel, message, lambda: written.append(1))
    assert kinds(outbox) == answers
    assert all(message["parent_header"] == EXECUTING for message in outbox.messages)
    assert "pip install gateway-provisioners-client" in outbox.words()
    assert (reasons, written) == (["client_limit"], [1])


def test_words_about_binary_data_come_once_per_cell(outbox):
    writer = writer_of(outbox, client_limit=TEXT_ONLY)
    one, two, widget = (
        {**EXECUTING, "msg_id": "1"},
        {**EXECUTING, "msg_id": "2"},
        {"msg_type": "comm_msg"},
    )
    parents = [one, one, two, one, *({**widget, "msg_id": str(n)} for n in range(100))]
    for parent in parents:
        writer.forward("iopub", [*frames("comm_msg", {}, parent), b"\xff"])
    writer.forward("iopub", frames("comm_msg", {}, one))
    assert [m["parent_header"].get("msg_id") for m in outbox.messages] == ["1", "2", "0", "1"]
    assert kinds(outbox)[-1] == "comm_msg"
