"""A kernel's activity and state, from messages that may say anything."""

import itertools
import json
import logging
from types import SimpleNamespace

import pytest

from gateway_provisioners.gateway.kernels.activity import ActivityWatch
from gateway_provisioners.gateway.websocket.requests import Requests

DELIMITER = b"<IDS|MSG>"
UNTRACKED = {"kernel_info_request", "comm_info_request"}


class Watched:
    """A kernel, and the time, which goes on at each look at it."""

    def __init__(self, state="idle", subscriber=None):
        self.kernel = SimpleNamespace(
            kernel_id="the-id", execution_state=state, last_activity=0, running=Requests(2)
        )
        clock = itertools.count(1)
        self._watch = ActivityWatch(
            self.kernel,
            lambda kind: kind is not None and kind not in UNTRACKED,
            lambda: next(clock),
            subscriber,
        )

    def publish(self, kind, content=None, *, parent="execute_request", topic=None, request="r1"):
        self.follow(
            *([topic] if topic else []),
            DELIMITER,
            b"signature",
            json.dumps({"msg_type": kind}).encode(),
            json.dumps({"msg_type": parent, "msg_id": request} if parent else {}).encode(),
            b"{}",
            content if isinstance(content, bytes) else json.dumps(content or {}).encode(),
        )

    def follow(self, *frames):
        self._watch.follow(frames)

    def status(self, state, **arguments):
        self.publish("status", {"execution_state": state}, **arguments)

    @property
    def seen(self):
        return self.kernel.execution_state, self.kernel.last_activity


def test_the_running_cell_is_known():
    watched = Watched()
    assert watched.kernel.running.cell == {}
    watched.status("busy", request="cell")
    watched.status("busy", request="of a subshell", parent="complete_request")
    watched.status("busy", request="one too many", parent="complete_request")
    assert watched.kernel.running.cell == {"msg_id": "cell", "msg_type": "execute_request"}
    watched.status("idle", request="of a subshell", parent="complete_request")
    watched.status("idle", request="cell")
    assert not watched.kernel.running
    watched.status("busy", request="probe", parent="kernel_info_request")
    watched.status("busy", request=["hostile"])
    watched.status("busy", request="c", parent="comm_msg")
    assert not watched.kernel.running


def test_state_and_activity_follow_the_cells():
    watched = Watched()
    watched.status("busy")
    assert watched.seen == ("busy", 1)
    watched.publish("stream")
    assert watched.seen == ("busy", 2)
    watched.status("idle")
    assert watched.seen == ("idle", 3)


def test_requests_that_count_for_nothing_are_no_activity():
    watched = Watched()
    for state in ("busy", "idle"):
        watched.kernel.last_activity = 0
        watched.status(state, parent="kernel_info_request")
        assert watched.kernel.execution_state == "idle"


def test_any_answer_shows_that_the_kernel_has_started():
    watched = Watched("starting")
    watched.status("starting", parent="kernel_info_request")
    assert watched.kernel.execution_state == "starting"
    watched.status("busy", parent="kernel_info_request")
    assert watched.kernel.execution_state == "idle"


@pytest.mark.attack(4)
@pytest.mark.parametrize(
    "state",
    [
        *(b"NaN", b"1", b"null", b"[]", b"{}", b'""', b'"Busy"', b'"dead"', b'"\\ud800"', b"1e999"),
        b'"' + b"x" * 5000 + b'"',
        b'"' + b"x" * 50 * 2**20 + b'"',
        b"[" * 2000,
        b"[" * 100_000,
    ],
    ids=lambda state: f"{state[:12]!r} {len(state)}",
)
def test_hostile_state_changes_nothing_and_the_next_one_is_followed(state, caplog):
    watched = Watched("busy")
    for _ in range(3):
        watched.publish("status", b'{"execution_state": ' + state + b"}")
    assert watched.kernel.execution_state == "busy"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert len(caplog.text) < 1000
    watched.status("idle")
    assert watched.kernel.execution_state == "idle"


@pytest.mark.attack(4)
@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [DELIMITER],
        [DELIMITER, b"signature", b"{}", b"{}", b"{}"],
        [DELIMITER, b"signature", b"{}", b"{}", b"{}", b"{}"],
        [b"x"] * 20,
        [b"x"] * 20 + [DELIMITER, b"", b"{}", b"{}", b"{}", b"{}"],
        [DELIMITER, b"", *[b"{}"] * 20_000],
        [DELIMITER, b"", b"\xff\xfe", b"{}", b"{}", b"{}"],
        [DELIMITER, b"", b"[" * 60_000, b"[" * 60_000, b"{}", b"{}"],
        [DELIMITER, b"", b'{"msg_type": {"msg_type": "status"}}', b"{}", b"{}", b"{}"],
        [DELIMITER, b"", b'{"msg_type": "' + b"x" * 2**20 + b'"}', b"{}", b"{}", b"{}"],
        [DELIMITER, b"", b'{"msg_type": "status"}', b"null", b"{}", b"null"],
    ],
    ids=lambda frames: f"{len(frames)} frames, {sum(map(len, frames))} bytes",
)
def test_malformed_frames_change_no_state_and_are_logged_once(frames, caplog):
    watched = Watched("idle")
    for _ in range(100):
        watched.follow(*frames)
    assert watched.kernel.execution_state == "idle"
    assert len(caplog.records) == 1
    assert "the-id" in caplog.text
    watched.status("busy")
    assert watched.kernel.execution_state == "busy"


@pytest.mark.attack(4)
def test_nonsense_in_between_does_not_freeze_the_activity():
    watched = Watched()
    times = []
    for _ in range(5):
        watched.follow(b"nonsense")
        watched.publish("status", b'{"execution_state": NaN}')
        watched.publish("stream")
        times.append(watched.kernel.last_activity)
    assert times == sorted(set(times))


def test_types_may_be_anything():
    watched = Watched()
    for kind in ("", "x" * 10_000, "\0", "status "):
        watched.publish(kind, parent=kind)
    assert watched.kernel.execution_state == "idle"


class Topics:
    """A socket that subscribes to topics."""

    def __init__(self):
        self.topics = {b""}

    def subscribe(self, topic):
        self.topics.add(topic)

    def unsubscribe(self, topic):
        self.topics.remove(topic)


STATUS_TOPIC = b"kernel.1234.status"
FIGURE = {"data": {"text/plain": "x" * 2**20}}


def test_status_alone_is_followed_while_a_cell_publishes_much():
    socket = Topics()
    watched = Watched(subscriber=socket)
    watched.publish("display_data", FIGURE)  # of a thread, while no cell runs
    assert socket.topics == {b""}
    for _ in range(2):
        watched.status("busy", topic=STATUS_TOPIC)
        watched.publish("stream", topic=b"stream.stdout")
        assert socket.topics == {b""}
        for _ in range(2):
            watched.publish("display_data", FIGURE, topic=b"display_data")
            assert socket.topics == {b"kernel."}
        for state in ("busy", "idle"):  # of another client, which the kernel answers meanwhile
            watched.status(state, parent="kernel_info_request", topic=STATUS_TOPIC)
        assert socket.topics == {b"kernel."}
        watched.status("idle", topic=STATUS_TOPIC)
        assert socket.topics == {b""}


def test_all_is_followed_of_a_kernel_whose_status_has_no_topic():
    socket = Topics()
    watched = Watched(subscriber=socket)
    for topic in (None, b"status"):
        watched.status("busy", topic=topic)
        for _ in range(2):
            watched.publish("display_data", FIGURE, topic=b"kernel.1234.display_data")
        watched.status("idle", topic=topic)
        assert socket.topics == {b""}
