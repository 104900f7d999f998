"""The launcher's mailbox: messages sent, sent again, and dropped."""

import json
import sys
from pathlib import Path

import pytest

# The launcher is not part of the package: it finds its modules beside its script.
sys.path.append(str(Path(__file__).parents[3] / "launchers" / "python" / "scripts"))

from kernel_launcher import mailbox as mailboxes
from kernel_launcher.execution import ExecutionState
from kernel_launcher.mailbox import Mailbox
from kernel_launcher.spool import Spool


class Routes:
    """Takes what is sent; routes can be away."""

    def __init__(self):
        self.sent = {}
        self.away = set()

    def __call__(self, route, frames):
        if route in self.away:
            return False
        self.sent.setdefault(route, []).append(list(frames))
        return True

    def take(self, route):
        """Return what was sent to `route` since the last call, in short."""
        return [_short(frames) for frames in self.sent.pop(route, [])]


def _short(frames):
    if frames[0] == b"welcome":
        return json.loads(frames[1])["dropped"]
    return frames[2].decode() if len(frames) > 2 else b" ".join(frames).decode()


@pytest.fixture
def routes():
    return Routes()


@pytest.fixture
def mailbox(routes):
    return without_disk(100, routes)


def without_disk(most_bytes, routes):
    return Mailbox(most_bytes, Spool(0), routes, report)


def report(_parent, count, size):
    return [b"%d lost, %d bytes" % (count, size)]


def say(mailbox, *texts, to=None):
    for text in texts:
        mailbox.post(b"iopub" if to is None else b"shell", [text.encode()], to)


def number_of(routes, route, text):
    return next(int(f[1]) for f in routes.sent[route] if f[2:] == [text.encode()])


def test_the_welcome_says_what_the_launcher_offers(mailbox, routes):
    mailbox.attach(b"s", b"r", "busy")
    [[kind, welcome]] = routes.sent[b"r"]
    assert kind == b"welcome"
    assert json.loads(welcome) == {
        "execution_state": "busy",
        "dropped": 0,
        "last": 0,
        "features": ["mailbox", "state"],
    }


def test_without_clients_nothing_is_kept(mailbox, routes):
    say(mailbox, "a", "b")
    mailbox.attach(b"s", b"r", "idle")
    say(mailbox, "c")
    assert routes.take(b"r") == [0, "c"]


def test_what_was_not_acknowledged_comes_again(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle")
    say(mailbox, "a", "b")
    say(mailbox, "reply", to=b"s")
    mailbox.acknowledge(b"r", number_of(routes, b"r", "a"))
    assert routes.take(b"r") == [0, "a", "b", "reply"]
    routes.away.add(b"r")
    say(mailbox, "c")
    mailbox.attach(b"s", b"r2", "busy")
    say(mailbox, "d")
    assert routes.take(b"r2") == [0, "b", "reply", "c", "d"]


def test_what_was_acknowledged_does_not(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle")
    say(mailbox, "a", "b")
    mailbox.acknowledge(b"r", number_of(routes, b"r", "b"))
    mailbox.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2") == [0]


def test_a_connection_that_is_made_anew_gets_what_was_on_its_way(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle")
    say(mailbox, "a")
    routes.take(b"r")
    mailbox.attach(b"s", b"r", "idle")
    assert routes.take(b"r") == [0, "a"]


def test_the_oldest_is_dropped_and_counted(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    say(mailbox, "a" * 40, "b" * 40, "c" * 40, "d" * 40)
    mailbox.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2") == [0, "2 lost, 80 bytes", "c" * 40, "d" * 40]
    # Reported once.
    mailbox.attach(b"s", b"r3", "idle")
    assert routes.take(b"r3") == [0, "c" * 40, "d" * 40]


def test_what_is_dropped_on_its_way_is_lost_only_if_it_does_not_arrive(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle")
    say(mailbox, "a" * 200)
    number = number_of(routes, b"r", "a" * 200)
    mailbox.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2") == [0, "1 lost, 200 bytes"]
    say(mailbox, "b" * 200)
    mailbox.acknowledge(b"r2", number + 1)
    mailbox.attach(b"s", b"r3", "idle")
    assert routes.take(b"r3") == [0]


def test_replies_are_for_their_session_alone(mailbox, routes):
    mailbox.attach(b"one", b"1", "idle")
    mailbox.attach(b"two", b"2", "idle")
    say(mailbox, "of one", to=b"one")
    say(mailbox, "of an unknown session", to=b"three")
    say(mailbox, "of all")
    assert routes.take(b"1") == [0, "of one", "of all"]
    assert routes.take(b"2") == [0, "of all"]


def test_replies_are_dropped_last(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    say(mailbox, "first reply", "second reply", to=b"s")
    say(mailbox, "a" * 60, "b" * 60)
    mailbox.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2") == [*(0, "first reply", "second reply", "1 lost, 60 bytes", "b" * 60)]
    say(mailbox, "r" * 90, to=b"s")
    mailbox.attach(b"s", b"r3", "idle")
    # Its dropped ones had been sent, and were not acknowledged.
    assert routes.take(b"r3") == [0, "3 lost, 83 bytes", "r" * 90]


def test_sessions_share_the_limit_and_not_the_count(mailbox, routes):
    mailbox.attach(b"one", b"1", "idle")
    mailbox.attach(b"two", b"2", "idle")
    routes.away |= {b"1", b"2"}
    say(mailbox, "x" * 40, to=b"one")
    say(mailbox, "y" * 40, "z" * 40)
    mailbox.attach(b"one", b"11", "idle")
    mailbox.attach(b"two", b"22", "idle")
    assert routes.take(b"11") == [0, "x" * 40, "1 lost, 40 bytes", "z" * 40]
    assert routes.take(b"22") == [0, "1 lost, 40 bytes", "z" * 40]


def test_a_slow_client_gets_no_more_than_it_acknowledges(routes):
    mailbox = without_disk(10**8, routes)
    mailbox.attach(b"s", b"r", "idle")
    texts = [str(n) for n in range(mailboxes.WINDOW_MESSAGES + 10)]
    say(mailbox, *texts)
    assert routes.take(b"r") == [0, *texts[:-10]]
    mailbox.acknowledge(b"r", 5)
    assert routes.take(b"r") == texts[-10:-5]
    mailbox.acknowledge(b"r", len(texts) - 5)
    assert routes.take(b"r") == texts[-5:]


def test_a_slow_client_learns_where_messages_are_missing(routes):
    mailbox = without_disk(mailboxes.WINDOW_MESSAGES, routes)
    mailbox.attach(b"s", b"r", "idle")
    say(mailbox, *"x" * mailboxes.WINDOW_MESSAGES)
    say(mailbox, *"y" * mailboxes.WINDOW_MESSAGES, *"zzz")
    routes.take(b"r")
    mailbox.acknowledge(b"r", mailboxes.WINDOW_MESSAGES)
    assert routes.take(b"r")[:2] == ["3 lost, 3 bytes", "y"]


def test_a_session_has_one_connection(mailbox, routes):
    mailbox.attach(b"s", b"old", "idle")
    mailbox.attach(b"s", b"new", "idle")
    say(mailbox, "a")
    assert routes.take(b"old") == [0, "taken"]
    assert routes.take(b"new") == [0, "a"]
    assert mailbox.session_of(b"old") is None
    mailbox.acknowledge(b"old", 1)
    mailbox.attach(b"s", b"new", "idle")
    assert routes.take(b"new") == [0, "a"]


def test_a_session_that_ended_is_forgotten(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle")
    mailbox.detach(b"r")
    say(mailbox, "a")
    mailbox.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2") == [0]


def test_many_sessions_push_out_the_one_that_is_away_longest(mailbox, routes):
    names = [b"%d" % n for n in range(mailboxes.MOST_CLIENTS)]
    for name in names:
        mailbox.attach(name, name, "idle")
    routes.away |= {names[2], names[1]}
    say(mailbox, "a")
    mailbox.attach(b"one more", b"one more", "idle")
    mailbox.attach(names[2], b"back", "idle")
    mailbox.attach(names[1], b"back too", "idle")
    assert routes.take(b"back")[:2] == [0, "a"]
    assert routes.take(b"back too") == [0]
    # Connected clients are not forgotten.
    assert routes.take(names[0])[-1] in {"a", "ping"}
    assert mailbox.session_of(names[0]) == names[0]


def status(state, *, subshell=None, request="execute_request"):
    parent = {"msg_type": request, **({"subshell_id": subshell} if subshell else {})}
    parts = [{"msg_type": "status"}, parent, {}, {"execution_state": state}]
    return [b"topic", b"<IDS|MSG>", b"", *(json.dumps(part).encode() for part in parts)]


@pytest.mark.parametrize(
    ("messages", "value"),
    [
        ([], "idle"),
        ([status("busy")], "busy"),
        ([status("busy"), status("idle")], "idle"),
        ([status("busy"), status("busy", request="kernel_info_request")], "busy"),
        ([status("busy"), status("idle", request="kernel_info_request")], "busy"),
        ([status("busy"), status("busy", subshell="a"), status("idle")], "busy"),
        # An interrupt at the wrong moment leaves a request without an end.
        ([status("busy"), status("busy"), status("idle")], "idle"),
        ([[b"garbage"], [b"<IDS|MSG>"], [b"<IDS|MSG>", b"", b'"status"', b"[", b"", b""]], "idle"),
        ([[b"<IDS|MSG>", b"", b'{"msg_type": "status"}', b"[]", b"", b"{}"]], "idle"),
    ],
)
def test_execution_state(messages, value):
    state = ExecutionState()
    for message in messages:
        state.follow(message)
    assert state.value == value


@pytest.fixture
def spooled(routes, tmp_path):
    """A mailbox with 100 bytes of memory, and with a disk."""
    return Mailbox(100, Spool(3 * 2**20, str(tmp_path)), routes, report)


def test_what_does_not_fit_into_memory_comes_from_disk_in_order(spooled, routes, tmp_path):
    spooled.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    texts = [str(n) * 60 for n in range(10)]
    say(spooled, *texts[:5])
    say(spooled, "reply" * 20, to=b"s")
    say(spooled, *texts[5:])
    for route in (b"r2", b"r3"):
        spooled.attach(b"s", route, "idle")
        assert routes.take(route) == [0, *texts[:5], "reply" * 20, *texts[5:]]
    assert list(tmp_path.iterdir()) == []


def test_disk_is_free_again_when_messages_are_acknowledged(spooled, routes):
    spooled.attach(b"s", b"r", "idle")
    for _ in range(20):
        routes.away.add(b"r")
        say(spooled, *["x" * 2**20] * 2)
        routes.away.clear()
        spooled.attach(b"s", b"r", "idle")
        while sent := routes.sent.pop(b"r", []):
            assert not any(b"lost" in frame for frames in sent for frame in frames)
            spooled.acknowledge(b"r", int(sent[-1][1]) if len(sent[-1]) > 2 else 0)
    assert spooled._spool._bytes == 0


def test_oldest_is_dropped_when_the_disk_is_full(spooled, routes):
    spooled.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    say(spooled, *[str(n) * 2**19 for n in range(8)])
    spooled.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2")[:3] == [0, f"2 lost, {2**20} bytes", "2" * 2**19]


def test_disk_that_cannot_be_written_is_not_used(routes, tmp_path, capfd):
    mailbox = Mailbox(100, Spool(2**20, str(tmp_path / "missing")), routes, report)
    mailbox.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    say(mailbox, "a" * 60, "b" * 60, "c" * 60)
    mailbox.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2") == [0, "2 lost, 120 bytes", "c" * 60]
    assert capfd.readouterr().err.count("output is kept in memory only") == 1


def test_losses_are_counted_for_each_cell(routes):
    mailbox = Mailbox(
        200, Spool(0), routes, lambda parent, *counts: [parent, *map(b"%d".__mod__, counts)]
    )
    mailbox.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    for cell in "ababc":
        parent = json.dumps({"msg_id": cell}).encode()
        mailbox.post(b"iopub", [b"<IDS|MSG>", b"", b"{}", parent, b"{}", b"x" * 60])
    mailbox.attach(b"s", b"r2", "idle")
    reports = [frames[2:] for frames in routes.sent[b"r2"][1:] if len(frames) == 5]
    assert [frames[0] for frames in reports] == [b'{"msg_id": "b"}', b'{"msg_id": "a"}']
    numbers = [int(frames[1]) for frames in routes.sent[b"r2"][1:]]
    assert numbers == sorted(set(numbers))


def test_loss_is_reported_between_the_messages_around_it(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    say(mailbox, "first reply", to=b"s")
    say(mailbox, "a" * 60, "b" * 60)
    say(mailbox, "second reply", to=b"s")
    mailbox.attach(b"s", b"r2", "idle")
    numbers = [int(frames[1]) for frames in routes.sent[b"r2"][1:]]
    assert numbers == sorted(set(numbers)), "a receiver drops numbers that it has seen"
    assert routes.take(b"r2")[1:] == [
        *("first reply", "1 lost, 60 bytes", "b" * 60, "second reply")
    ]
