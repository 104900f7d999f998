"""The launcher's mailbox: messages sent, sent again, and dropped."""

import errno
import json
import os
from pathlib import Path

import pytest

from kernel_launcher import mailbox as mailboxes
from kernel_launcher import messages
from kernel_launcher.accepted import ACCEPTED, MOST_REQUESTS, Confirmations, is_offered
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


@pytest.fixture(autouse=True)
def only_content_counts(monkeypatch):
    monkeypatch.setattr(messages, "FRAME_BYTES", 0)


@pytest.fixture
def mailbox(routes):
    return without_disk(100, routes)


def without_disk(most_bytes, routes):
    return Mailbox(most_bytes, Spool(0), routes, report)


def report(_parent, count, size):
    return [b"%d lost, %d bytes" % (count, size)]


def say(mailbox, *texts, to=None):
    for text in texts:
        if to is None:
            mailbox.publish([text.encode()])
        else:
            mailbox.post(b"shell", [text.encode()], to)


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
        "features": ["mailbox", "state", "usage", "accepted"],
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
    # Reported again until it has arrived.
    mailbox.attach(b"s", b"r3", "idle")
    number = number_of(routes, b"r3", "c" * 40)
    assert routes.take(b"r3") == [0, "2 lost, 80 bytes", "c" * 40, "d" * 40]
    mailbox.acknowledge(b"r3", number - 1)
    mailbox.attach(b"s", b"r4", "idle")
    assert routes.take(b"r4") == [0, "c" * 40, "d" * 40]


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
    # The others had been sent, as had been the report, and were not acknowledged.
    assert routes.take(b"r3") == [0, "4 lost, 143 bytes", "r" * 90]


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


def test_connection_has_the_session_that_attached_last(mailbox, routes):
    mailbox.attach(b"s1", b"r", "idle")
    mailbox.attach(b"s2", b"r", "idle")
    say(mailbox, "a")
    assert routes.take(b"r") == [0, 0, "a"]
    mailbox.attach(b"s1", b"r1", "idle")
    assert routes.take(b"r1") == [0, "a"]
    assert routes.take(b"r") == []
    assert mailbox.session_of(b"r") == b"s2"
    mailbox.acknowledge(b"r", 1)
    mailbox.attach(b"s2", b"r", "idle")
    assert routes.take(b"r") == [0]


def test_session_without_a_connection_is_forgotten_alone(mailbox, routes):
    mailbox.attach(b"s1", b"r", "idle")
    mailbox.attach(b"s2", b"r", "idle")
    for n in range(mailboxes.MOST_CLIENTS - 1):
        mailbox.attach(b"%d" % n, b"r%d" % n, "idle")
    say(mailbox, "a")
    mailbox.attach(b"s1", b"elsewhere", "idle")
    assert routes.take(b"elsewhere") == [0]
    assert mailbox.session_of(b"r") == b"s2"


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


def test_published_messages_replace_no_replies(mailbox, routes):
    mailbox.attach(b"away", b"a", "idle")
    mailbox.attach(b"here", b"h", "idle")
    routes.away.add(b"a")
    say(mailbox, "x" * 60, to=b"away")
    say(mailbox, "a" * 60, "b" * 200)
    assert routes.take(b"h") == [0, "a" * 60, "b" * 200], "a client that waits for it gets it"
    mailbox.attach(b"away", b"a2", "idle")
    assert routes.take(b"a2") == [0, "x" * 60, "2 lost, 260 bytes"]


def test_what_cannot_be_kept_replaces_nothing(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    say(mailbox, "a" * 40, "b" * 101)
    say(mailbox, "c" * 101, to=b"s")
    mailbox.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2") == [0, "a" * 40, "2 lost, 202 bytes"]


def test_end_of_a_clients_own_request_is_kept_like_its_reply(routes):
    mailbox = without_disk(500, routes)
    for session in (b"asked", b"other"):
        mailbox.attach(session, session, "idle")
    routes.away |= {b"asked", b"other"}
    mailbox.publish(status("idle"), b"asked")
    say(mailbox, "a" * 300, "b" * 300)
    mailbox.attach(b"asked", b"1", "idle")
    assert routes.take(b"1") == [0, "topic", "1 lost, 300 bytes", "b" * 300]
    mailbox.attach(b"other", b"2", "idle")
    assert routes.take(b"2") == [0, "1 lost, 300 bytes", "b" * 300]
    mailbox.publish([b"again"], b"asked")
    assert (routes.take(b"1"), routes.take(b"2")) == (["again"], ["again"])


def test_states_are_not_counted_as_lost_output(routes):
    mailbox = without_disk(500, routes)
    mailbox.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    for _ in range(20):
        mailbox.publish(status("busy"))
    mailbox.attach(b"s", b"r2", "idle")
    assert not any(b"lost" in frame for frames in routes.sent[b"r2"] for frame in frames)


def test_frames_count_as_well(routes, monkeypatch):
    monkeypatch.setattr(messages, "FRAME_BYTES", 128)
    mailbox = without_disk(10_000, routes)
    mailbox.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    for _ in range(4):
        mailbox.publish([b""] * 30)
    mailbox.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2")[:2] == [0, "2 lost, 0 bytes"]


def status(state, *, subshell=None, request="execute_request", session="a-session"):
    parent = {"msg_type": request, "session": session}
    if subshell:
        parent["subshell_id"] = subshell
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


@pytest.mark.parametrize(
    ("frames", "session"),
    [
        (status("idle"), b"a-session"),
        (status("busy"), None),
        (status("idle", session=7), None),
        (status({"idle": "idle"}), None),
        ([b"<IDS|MSG>", b"", b'{"msg_type": "stream"}', b"{}", b"{}", b'{"text": "idle"}'], None),
        ([], None),
    ],
)
def test_session_that_waits_for_a_message(frames, session):
    assert messages.session_that_waits_for(frames) == session


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
    size = 2**19 - 8  # on disk, with the size of its frame, half of a segment
    say(spooled, *[str(n) * size for n in range(8)])
    spooled.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2")[:3] == [0, f"2 lost, {2 * size} bytes", "2" * size]


def test_disk_that_cannot_be_written_is_not_used(routes, tmp_path, capfd):
    mailbox = Mailbox(100, Spool(2**20, str(tmp_path / "missing")), routes, report)
    mailbox.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    say(mailbox, "a" * 60, "b" * 60, "c" * 60)
    mailbox.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2") == [0, "2 lost, 120 bytes", "c" * 60]
    assert capfd.readouterr().err.count("no more output is kept on disk") == 1


class Disk:
    """A file system with so much room, beside what is written elsewhere."""

    def __init__(self, monkeypatch, room):
        self.room = room
        self._write = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, file, data, offset):
        room = self.room - os.fstat(file).st_size
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(file, data[:room], offset)


def test_full_disk_keeps_what_it_has_and_is_used_again(routes, tmp_path, monkeypatch, capfd):
    """It is full in the middle of a message."""
    mailbox = Mailbox(100, Spool(2**20, str(tmp_path)), routes, report)
    Disk(monkeypatch, 300)
    mailbox.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    say(mailbox, *[c * 90 for c in "abcdefgh"])
    mailbox.attach(b"s", b"r2", "idle")
    last = number_of(routes, b"r2", "h" * 90)
    assert routes.take(b"r2") == [0, "4 lost, 360 bytes", *[c * 90 for c in "efgh"]]
    mailbox.acknowledge(b"r2", last)
    routes.away.add(b"r2")
    say(mailbox, *[c * 90 for c in "xyz"])
    mailbox.attach(b"s", b"r3", "idle")
    assert routes.take(b"r3") == [0, *[c * 90 for c in "xyz"]]
    assert capfd.readouterr().err.count("no more output is kept on disk") == 1


def test_full_disk_gets_back_what_was_written_of_a_message(tmp_path, monkeypatch):
    spool = Spool(2**20, str(tmp_path))
    stored = spool.put([b"a" * 100])
    Disk(monkeypatch, 200)
    assert spool.put([b"b" * 100]) is None
    assert os.fstat(stored.segment.file).st_size == stored.size
    assert spool.get(stored) == [b"a" * 100]


def test_disk_that_cannot_be_read_ends_nothing(spooled, routes, monkeypatch):
    spooled.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    say(spooled, "a" * 60, "b" * 60, "c" * 60)

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    spooled.attach(b"s", b"r2", "idle")
    assert routes.take(b"r2") == [0, "a" * 60, *["1 lost, 0 bytes"] * 2]


def test_replies_that_wait_keep_no_space_of_published_messages(spooled, routes):
    """A client that is away has a reply among each MiB of what the other one receives."""
    spooled.attach(b"away", b"a", "idle")
    spooled.attach(b"here", b"h", "idle")
    routes.away |= {b"a", b"h"}
    say(spooled, "x" * 90, to=b"away")
    for _ in range(8):
        say(spooled, "reply" * 20, to=b"away")
        say(spooled, *["x" * 2**18] * 4)
    spooled.attach(b"here", b"h2", "idle")
    spooled.acknowledge(b"h2", int(routes.sent[b"h2"][-1][1]))
    sent = sum(len(frames[-1]) == 2**18 for frames in routes.sent[b"h2"])
    assert sent >= 6, "there is room for 3 MiB, of which 1 MiB is freed at a time"


def test_files_are_closed_with_their_messages(spooled, routes, tmp_path):
    def files():
        links = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
        return sum(link.is_relative_to(tmp_path) for link in links)

    for n in range(10):
        session = b"%d" % n
        spooled.attach(session, b"r", "idle")
        routes.away.add(b"r")
        say(spooled, "x" * 90)
        say(spooled, "y" * 90, to=session)
        assert files() > 0
        spooled.detach(b"r")
        routes.away.clear()
        assert files() == 0


def test_losses_are_counted_for_each_cell(routes):
    mailbox = Mailbox(
        200, Spool(0), routes, lambda parent, *counts: [parent, *map(b"%d".__mod__, counts)]
    )
    mailbox.attach(b"s", b"r", "idle")
    routes.away.add(b"r")
    for cell in "ababc":
        parent = json.dumps({"msg_id": cell}).encode()
        mailbox.publish([b"<IDS|MSG>", b"", b"{}", parent, b"{}", b"x" * 60])
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


def remembers(routes, route):
    """Return what the last welcome says about the requests of the session."""
    welcomes = [frames for frames in routes.sent[route] if frames[0] == b"welcome"]
    return json.loads(welcomes[-1][1])["remembers"]


def test_a_request_that_comes_again_is_known(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle", confirms=True)
    mailbox.attach(b"other", b"o", "idle", confirms=True)
    assert mailbox.confirms(b"r")
    assert mailbox.accept(b"r", "request")
    assert mailbox.accept(b"o", "request")
    routes.away.add(b"r")
    mailbox.attach(b"s", b"r2", "idle", confirms=True)
    assert not mailbox.accept(b"r2", "request")
    assert not mailbox.accept(b"r", "later")  # a route of no session
    assert remembers(routes, b"r2") is True


def test_a_bounded_number_of_requests_is_remembered(mailbox):
    mailbox.attach(b"s", b"r", "idle", confirms=True)
    newest = [str(n) for n in range(MOST_REQUESTS)]
    assert all(mailbox.accept(b"r", request) for request in ["oldest", *newest])
    assert not any(mailbox.accept(b"r", request) for request in newest)
    assert mailbox.accept(b"r", "oldest")


def test_gateways_that_do_not_ask_get_no_confirmations(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle", confirms=True)
    mailbox.attach(b"s", b"old", "idle")
    assert not mailbox.confirms(b"old")
    assert not mailbox.confirms(b"nowhere")
    assert "remembers" not in json.loads(routes.sent[b"old"][0][1])


def test_a_session_that_was_forgotten_is_not_remembered(mailbox, routes):
    mailbox.attach(b"s", b"r", "idle", confirms=True)
    mailbox.accept(b"r", "request")
    routes.away.add(b"r")
    say(mailbox, "a")  # the mailbox notices that it is away
    for n in range(mailboxes.MOST_CLIENTS):
        mailbox.attach(b"%d" % n, b"r%d" % n, "idle", confirms=True)
    assert remembers(routes, b"r5") is True
    for route in (b"r", b"again"):  # also when nothing has come in between
        routes.away.add(b"r0")
        routes.away.discard(b"r")
        mailbox.attach(b"s", route, "idle", confirms=True)
        assert remembers(routes, route) is False
    mailbox.accept(b"again", "a new request")
    mailbox.attach(b"s", b"later", "idle", confirms=True)
    assert remembers(routes, b"later") is True


@pytest.mark.parametrize(
    ("features", "offered"),
    [
        (["fresh-key", ACCEPTED], True),
        (["fresh-key"], False),
        ([*map(str, range(32)), ACCEPTED], False),
        ([{}, None, ACCEPTED], True),
        (ACCEPTED, False),
        (None, False),
    ],
)
def test_the_feature_is_used_if_the_gateway_offers_it(features, offered):
    assert is_offered(features) is offered


def test_confirmations_of_a_turn_go_in_one_message():
    confirmations = Confirmations()
    for route, request in ((b"r", "1"), (b"o", "2"), (b"r", "\ud800")):
        confirmations.add(route, request)
    (first, [kind, ids]), (second, _) = confirmations.messages()
    assert (first, second, kind) == (b"r", b"o", b"accepted")
    assert json.loads(ids) == ["1", "\ud800"]


@pytest.mark.parametrize(
    ("header", "request_id"),
    [
        (b'{"msg_id": "a"}', "a"),
        (b'{"msg_id": "\\u00e9"}', "\u00e9"),
        (b'{"msg_id": "\\ud800"}', ""),
        (b'{"msg_id": 5}', ""),
        (b"[]", ""),
        (b"{", ""),
    ],
)
def test_ids_of_requests(header, request_id):
    assert messages.id_of([b"<IDS|MSG>", b"signature", header, b"{}", b"{}", b"{}"]) == request_id
    assert messages.id_of([header]) == ""
