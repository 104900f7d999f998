"""Announcements: who sees them at once, and who later."""

import pytest

from gateway_provisioners.gateway.kernels.announcements import Announcements
from gateway_provisioners.gateway.websocket.announcement import Announcement

REQUEST = {"msg_id": "r1", "msg_type": "execute_request", "session": "s1"}


class Client:
    """A connection of a session."""

    def __init__(self, session="s1", *, full=True):
        self.session_key = session
        self.has_full_access = full
        self.seen = []

    def is_asker(self, announcement):
        return not announcement.request or announcement.request["session"] == self.session_key

    def show(self, announcement):
        self.seen.append(announcement)


class Kernel:
    """The announcements of a kernel with these clients."""

    def __init__(self):
        self.clients = []
        self.elsewhere = 0
        self.announcements = Announcements(lambda: self.clients, lambda: self.elsewhere > 0)

    def announce(self, text="It ended.", request=REQUEST, **fields):
        announcement = Announcement(text, request, **fields)
        self.announcements.announce(announcement)
        return announcement

    def connect(self, *arguments, **options):
        client = Client(*arguments, **options)
        self.announcements.show_kept(client)
        self.clients.append(client)
        return client


@pytest.fixture
def kernel():
    return Kernel()


def test_every_connected_client_sees_a_sentence_once(kernel):
    first, second = kernel.connect("s1"), kernel.connect("s2")
    announced = kernel.announce()
    assert first.seen == second.seen == [announced]
    assert kernel.connect("s3").seen == []


def test_the_next_client_sees_what_none_has_seen(kernel):
    announced = [kernel.announce("First."), kernel.announce("Second.")]
    assert kernel.connect().seen == announced
    assert kernel.connect().seen == []


def test_a_cell_whose_client_is_away_is_ended_when_it_comes_back(kernel):
    other = kernel.connect("s2")
    announced = kernel.announce(ends_cell=True)
    assert other.seen == [announced]
    assert kernel.connect("s2").seen == []
    assert kernel.connect("s1").seen == [announced]
    assert kernel.connect("s1").seen == []


def test_what_is_kept_without_a_request_ends_no_later_cell(kernel):
    kernel.announce(request={}, ends_cell=True)
    (late,) = kernel.connect().seen
    assert not late.ends_cell


def test_who_may_only_read_takes_nothing_away(kernel):
    reader = kernel.connect(full=False)
    announced = kernel.announce()
    assert reader.seen == [announced]
    assert kernel.connect(full=False).seen == []
    assert kernel.connect().seen == [announced]


def test_clients_of_other_gateways_see_it_there(kernel):
    kernel.elsewhere = 1
    kernel.announce()
    assert kernel.connect().seen == []
    kernel.elsewhere = 0
    kernel.announce()
    kernel.announcements.forget()
    assert kernel.connect().seen == []


def test_what_is_kept_is_bounded(kernel):
    for number in range(100):
        kernel.announce(str(number))
    assert len(kernel.connect().seen) == 16
    kernel.clients.clear()
    kernel.announce("x" * 40_000)
    kernel.announce("y" * 20_000, log="z" * 20_000)
    assert [each.text[0] for each in kernel.connect().seen] == ["y"]


def test_what_is_kept_for_the_next_client_is_not_shown_to_others(kernel):
    connected = kernel.connect("s1")
    kept = Announcement("Output is lost.", REQUEST)
    kernel.announcements.keep(kept)
    assert connected.seen == []
    assert kernel.connect("s1").seen == [kept]
    assert kernel.connect("s2").seen == []
