"""Confirmations between clients and the gateway; the socket and the mailbox are the test's."""

import json

import pytest

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.websocket import deliveries
from gateway_provisioners.gateway.websocket.client_frames import MOST_NAMED, Resend, parse_frame
from gateway_provisioners.gateway.websocket.confirmations import Confirmations, are_confirmed
from gateway_provisioners.gateway.websocket.mailbox_protocol import (
    Welcome,
    parse_accepted,
    parse_welcome,
)
from gateway_provisioners.handshake.payload import attempt_name, new_launch_key

V1 = "v1.kernel.websocket.jupyter.org"
CONFIRMING = Welcome("idle", 0, ("accepted",), remembers=True)
FORGETFUL = Welcome("idle", 0, ("accepted",))
OLDER = Welcome("idle", 0, ("mailbox",))


class Outbox:
    """Counts messages, as the real one does, and keeps text."""

    def __init__(self):
        self.queued_messages = self.sent_messages = 0
        self.frames = []

    def write(self, parts, *, binary):
        assert not binary
        self.frames.append(json.loads(b"".join(parts)))

    def send(self, count=1):
        self.queued_messages += count
        self.sent_messages += count


class Mailbox:
    def __init__(self):
        self.delivered_numbers = []
        self.resumed = 0

    def delivered(self, number):
        self.delivered_numbers.append(number)

    def resume(self):
        self.resumed += 1


@pytest.fixture
def outbox():
    return Outbox()


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture
def confirmations(outbox, mailbox):
    confirmations = Confirmations(outbox)
    confirmations.deliveries.begin(mailbox)
    return confirmations


def tell(confirmations, **frame):
    confirmations.take(json.dumps(frame).encode())


def name(confirmations, *requests, attempt="a"):
    tell(confirmations, resend={"attempt": attempt, "ids": requests})


def header(request):
    return {"msg_id": request}


@pytest.mark.parametrize(
    ("features", "subprotocol", "session", "expected"),
    [
        ("confirm", V1, "s", True),
        ("other, confirm", V1, "s", True),
        ("confirmed", V1, "s", False),
        ("", V1, "s", False),
        ("confirm", None, "s", False),
        ("confirm", V1, "", False),
        ("confirm", V1, None, False),
    ],
)
def test_who_gets_confirmations(features, subprotocol, session, expected):
    assert are_confirmed(features, subprotocol, session) is expected


def test_what_the_client_received_is_delivered(confirmations, outbox, mailbox):
    for number, messages in ((1, 1), (4, 3), (5, 0), (6, 1)):  # of which one became pieces
        outbox.send(messages)
        confirmations.deliveries.add(number)
    outbox.send()  # the gateway's own
    for received, delivered in ((1, [1]), (3, []), (4, [5]), (4, []), (6, [6])):
        mailbox.delivered_numbers.clear()
        tell(confirmations, received=received)
        assert mailbox.delivered_numbers == delivered
    confirmations.deliveries.add(9)  # nothing comes of it
    assert mailbox.delivered_numbers == [6, 9]


def test_another_mailbox_is_counted_from_its_first_message_on(confirmations, outbox, mailbox):
    outbox.send()
    confirmations.deliveries.add(7)
    moved = Mailbox()
    confirmations.deliveries.begin(moved)
    outbox.send()
    confirmations.deliveries.add(1)
    tell(confirmations, received=2)
    assert (mailbox.delivered_numbers, moved.delivered_numbers) == ([], [1])


@pytest.mark.attack(23)
@pytest.mark.parametrize("count", [1, 3])
def test_a_client_cannot_have_received_so_many(confirmations, outbox, count):
    outbox.send(2)
    tell(confirmations, received=2)
    outbox.queued_messages += 1  # it waits
    with pytest.raises(ProtocolError, match="not received"):
        tell(confirmations, received=count)


@pytest.mark.attack(23)
def test_few_unconfirmed_messages_are_remembered(confirmations, outbox, mailbox, monkeypatch):
    monkeypatch.setattr(deliveries, "_MOST_UNCONFIRMED", 2)
    for number in (1, 2):
        assert confirmations.deliveries.has_room()
        outbox.send()
        confirmations.deliveries.add(number)
    assert not confirmations.deliveries.has_room()
    tell(confirmations, received=1)
    assert confirmations.deliveries.has_room()
    assert mailbox.resumed == 1


@pytest.mark.parametrize(
    ("welcome", "confirms", "has_mailbox"),
    [(CONFIRMING, True, True), (FORGETFUL, True, True), (OLDER, False, True), (None, False, False)],
)
def test_the_client_learns_what_its_kernel_offers(
    confirmations, outbox, welcome, confirms, has_mailbox
):
    confirmations.attached("a", welcome)
    confirmations.accepted(["1", "\U0001f600"])
    attached = {"attempt": "a", "confirms": confirms, "mailbox": has_mailbox}
    assert outbox.frames == [{"attached": attached}, {"accepted": ["1", "\U0001f600"]}]


@pytest.mark.parametrize(
    ("welcome", "attempt", "words"),
    [
        (CONFIRMING, "a", ""),
        (CONFIRMING, "b", "restarted meanwhile"),
        (FORGETFUL, "a", "not known whether this ran"),
        (OLDER, "a", "not known whether this ran"),
        (None, "a", "not known whether this ran"),
    ],
    ids=["confirmed", "restarted", "forgotten", "older launcher", "no mailbox"],
)
def test_requests_that_may_come_again(confirmations, welcome, attempt, words):
    confirmations.attached(attempt, welcome)
    name(confirmations, "named")
    assert confirmations.refusal(header("new")) == ""
    refusal = confirmations.refusal(header("named"))
    assert words in refusal
    assert bool(words) == bool(refusal)
    assert confirmations.refusal(header("named")) == ""  # it counts as new now


def test_a_reader_sends_nothing_again(confirmations):
    confirmations.attached("a", CONFIRMING)
    name(confirmations, "named")
    assert "not known" in confirmations.refusal(header("named"), forbidden=True)
    assert confirmations.refusal(header("new"), forbidden=True) == ""


def test_held_requests_that_go_to_the_new_launch_are_named(confirmations, outbox):
    confirmations.attached("a", CONFIRMING)
    name(confirmations, "old")
    held = [header("old"), header("new"), header("x" * 257), header(5), {}]
    confirmations.attached("b", CONFIRMING, held)
    assert outbox.frames[-1]["attached"]["held"] == ["new"]
    assert confirmations.refusal(header("old")) != ""


@pytest.mark.attack(23)
def test_few_requests_are_named_at_a_time(confirmations):
    confirmations.attached("a", CONFIRMING)
    for _ in range(2):
        name(confirmations, *map(str, range(MOST_NAMED)))  # the same ones
    assert confirmations.refusal(header("0")) == ""
    name(confirmations, "another")
    with pytest.raises(ProtocolError, match="too many"):
        name(confirmations, "one more")


def test_frames_are_read_as_far_as_they_are_known():
    frame = parse_frame(
        b'{"received": 5, "resend": {"attempt": "a", "ids": ["1"], "x": 1}, "y": []}'
    )
    assert (frame.received, frame.resend) == (5, Resend("a", ["1"]))
    assert parse_frame(b"{}").received is parse_frame(b"{}").resend


@pytest.mark.attack(23)
@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff",
        b"5",
        b'{"received": null}',
        b'{"received": 1.5}',
        b'{"resend": []}',
        b"[" * 10**5,
    ],
)
def test_malformed_frames(frame):
    with pytest.raises(ProtocolError, match="`confirm`"):
        parse_frame(frame)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b'["%s"]' % (b"x" * 257), json.dumps(["x"] * 1001).encode(), b"x" * 10**7],
    ids=["nothing", "an object", "numbers", "a long id", "too many", "long"],
)
def test_launchers_that_confirm_nonsense(content):
    with pytest.raises(ProtocolError):
        parse_accepted([b"accepted", content])


@pytest.mark.parametrize(
    ("changes", "remembers"),
    [
        ({"features": ["accepted"], "remembers": True}, True),
        ({"features": ["accepted"], "remembers": 1}, False),
        ({"features": ["accepted"]}, False),
        ({"remembers": True}, False),
    ],
)
def test_launchers_that_remember(changes, remembers):
    content = {"execution_state": "idle", "dropped": 0, "last": 0, **changes}
    assert parse_welcome([b"welcome", json.dumps(content).encode()]).remembers is remembers


def test_the_name_of_a_launch_says_nothing_about_its_key():
    key = new_launch_key()
    names = {attempt_name(key, "a"), attempt_name(key, "b"), attempt_name(new_launch_key(), "a")}
    assert len(names) == 3
    assert all(len(each) == 32 for each in names)
    assert attempt_name(key, "a") in names
