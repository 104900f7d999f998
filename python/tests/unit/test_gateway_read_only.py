"""Clients that may see a kernel, and not use it: their sessions, and the answers that they get."""

import json

import pytest
from jupyter_client.session import Session

from gateway_provisioners.gateway.identity.identity import Identity
from gateway_provisioners.gateway.websocket import read_only_answers
from gateway_provisioners.gateway.websocket.access import (
    access_of,
    read_only_words,
    session_name,
)
from gateway_provisioners.gateway.websocket.read_only_answers import ReadOnlyAnswers
from gateway_provisioners.model.ownership import Access, Ownership
from unit.test_gateway_client_writer import SESSION, Outbox, writer_of

OWNERSHIP = Ownership("alice", users={"bob": Access.READ})
INFO = {"status": "ok", "banner": "é", "debugger": True, "supported_features": ["debugger"]}


@pytest.mark.parametrize(
    "client",
    [Identity("alice"), Identity("", is_admin=True), Identity("alice", is_admin=True), None],
)
def test_the_owners_session_keeps_its_name(client):
    assert session_name("s", client, OWNERSHIP) == "s"


def test_other_users_sessions_have_names_of_their_own():
    names = [
        session_name(session_id, Identity(name), OWNERSHIP)
        for name, session_id in (("bob", "s"), ("bob", "t"), ("carol", "s"), ('b", "', "s"))
    ]
    names.append(session_name('", "s', Identity("b"), OWNERSHIP))
    assert len({*names, "s", "t"}) == 7
    assert names[0] == session_name("s", Identity("bob"), OWNERSHIP)
    assert all(len(name) <= 256 for name in names)


def test_a_named_administrator_does_not_share_the_owners_sessions():
    assert session_name("s", Identity("eve", is_admin=True), OWNERSHIP) != "s"


def test_a_stock_server_has_neither_owners_nor_identities():
    assert access_of(None, OWNERSHIP) == access_of(Identity("bob"), None) == Access.OWNER
    assert access_of(Identity("bob"), OWNERSHIP) == Access.READ
    assert session_name("s", Identity("bob"), None) == "s"


def test_the_words_name_the_owner():
    assert "of alice is shared with you read-only: ask its owner" in read_only_words(OWNERSHIP)
    assert "kernel is shared with you read-only: ask an administrator" in read_only_words(
        Ownership()
    )


class Channel:
    def __init__(self, kernel):
        self._kernel = kernel
        self._closed = False

    def on_recv(self, callback):
        self.receive = callback

    def send_multipart(self, frames, *_args, **_kwargs):
        self._kernel.requests.append(SESSION.unpack(frames[-4])["msg_type"])

    def close(self):
        self._closed = True

    def closed(self):
        return self._closed


class Kernel:
    """Keeps what it is asked, and answers when the test says so."""

    execution_state = "idle"
    ownership = OWNERSHIP

    def __init__(self):
        self.requests = []
        self.channels = []

    def connect_shell(self):
        self.channels.append(Channel(self))
        return self.channels[-1]

    connect_control = connect_shell

    def reply(self, content=INFO, kind="kernel_info_reply", key=b"key"):
        session = Session(key=key)
        message = session.msg(kind)
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        parts = [session.pack(message[n]) for n in ("header", "parent_header", "metadata")]
        parts.append(raw)
        frames = [b"<IDS|MSG>", session.sign(parts), *parts]
        for channel in self.channels:
            if not channel.closed():
                channel.receive(frames)
                return


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def outbox():
    return Outbox()


def answers_of(kernel, outbox, timeout=1000):
    return ReadOnlyAnswers(kernel, SESSION, writer_of(outbox), timeout)


def asks(answers, msg_id="1", channel="shell"):
    answers.answer(channel, {"msg_id": msg_id, "msg_type": "kernel_info_request"})


def replies(outbox):
    return [m for m in outbox.messages if m["msg_type"] == "kernel_info_reply"]


async def test_the_kernel_is_asked_once(kernel, outbox):
    answers = answers_of(kernel, outbox)
    asks(answers, "1")
    asks(answers, "2", "control")
    assert (kernel.requests, replies(outbox)) == (["kernel_info_request"] * 2, [])
    kernel.reply()
    asks(answers, "3")
    assert len(kernel.requests) == 2
    assert all(channel.closed() for channel in kernel.channels)
    got = [(m["parent_header"]["msg_id"], m["channel"]) for m in replies(outbox)]
    assert got == [("1", "shell"), ("2", "control"), ("3", "shell")]
    for message in replies(outbox):
        assert message["content"] == {**INFO, "debugger": False, "supported_features": []}
    states = [m["content"]["execution_state"] for m in outbox.messages if m["channel"] == "iopub"]
    assert states == ["busy", "idle"] * 3


@pytest.mark.attack(15)
@pytest.mark.parametrize(
    "reply",
    [
        {"kind": "execute_reply"},
        {"key": b"another"},
        {"content": b"[]"},
        {"content": b"{"},
        {"content": b'{"a": ' + b"[" * 100_000},
        {"content": {"banner": "x" * read_only_answers._LONGEST_INFO}},
    ],
)
async def test_a_malformed_info_is_not_passed_on(kernel, outbox, reply):
    answers = answers_of(kernel, outbox)
    asks(answers)
    kernel.reply(**reply)
    assert outbox.messages == []
    kernel.reply()
    assert len(replies(outbox)) == 1


async def test_a_kernel_that_does_not_answer_ends_the_request(kernel, outbox):
    answers = answers_of(kernel, outbox)
    asks(answers)
    answers._give_up()
    (reply,) = replies(outbox)
    assert reply["content"]["evalue"] == "The kernel does not answer."
    assert all(channel.closed() for channel in kernel.channels)
    asks(answers)
    kernel.reply()
    assert len(replies(outbox)) == 2


async def test_a_kernel_that_has_moved_is_asked_again(kernel, outbox):
    answers = answers_of(kernel, outbox)
    asks(answers)
    answers.kernel_moved()
    kernel.reply({"status": "ok", "banner": "moved"})
    assert replies(outbox)[0]["content"]["banner"] == "moved"
    answers.kernel_moved()
    assert len(kernel.requests) == 4  # nothing waits
    asks(answers)
    assert len(kernel.requests) == 6


@pytest.mark.attack(15)
async def test_few_requests_wait_for_the_kernel(kernel, outbox):
    answers = answers_of(kernel, outbox)
    for number in range(1000):
        asks(answers, str(number))
    assert len(replies(outbox)) == 1000 - read_only_answers._MOST_WAITING
    assert len(kernel.requests) == 2


async def test_a_closed_client_is_not_answered(kernel, outbox):
    answers = answers_of(kernel, outbox)
    asks(answers)
    answers.close()
    kernel.reply()
    assert outbox.messages == []
    assert all(channel.closed() for channel in kernel.channels)
