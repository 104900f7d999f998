"""Credentials of open websockets, which are checked again."""

import asyncio
import gc
import weakref
from contextvars import ContextVar

import pytest

from gateway_provisioners.gateway.http import credential_watch
from gateway_provisioners.gateway.http.credential_watch import CredentialWatch
from gateway_provisioners.gateway.identity.identity import (
    Identification,
    Identity,
    IdentityUnavailable,
    NotIdentified,
    TooManyAttempts,
)
from timeouts import within_timeout

ALICE = Identity("alice")
NOW = 1_000_000.0


class Client:
    """A websocket whose credential gives these outcomes, one after the other, and then the last one."""

    def __init__(self, *outcomes, identity=ALICE):
        self.outcomes = list(outcomes)
        self.checks = 0
        self.events = []
        self.happened = asyncio.Event()
        self.now = NOW
        self.watch = CredentialWatch(
            identity,
            self.identify,
            changed=self.changed,
            ended=self.ended,
            clock=lambda: self.now,
        )

    async def identify(self):
        self.checks += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Identity):
            return Identification(identity=outcome)
        return Identification(error=outcome)

    def changed(self, identity):
        self.events.append(identity)
        self.happened.set()

    def ended(self):
        self.events.append("ended")
        self.happened.set()

    async def next_event(self):
        await within_timeout(self.happened.wait())
        self.happened.clear()
        return self.events[-1]


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(credential_watch, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(credential_watch, "_AGAIN_SECONDS", 0.0)


async def test_a_wrong_credential_ends_the_websocket_once(at_once):
    client = Client(ALICE, ALICE, NotIdentified("revoked"))
    assert await client.next_event() == "ended"
    for _ in range(10):
        await asyncio.sleep(0)
    assert (client.events, client.checks) == (["ended"], 3)


@pytest.mark.parametrize("other", [Identity("bob"), Identity("", is_admin=True)])
async def test_a_credential_of_another_user_ends_the_websocket(at_once, other):
    client = Client(other)
    assert await client.next_event() == "ended"


@pytest.mark.parametrize("error", [IdentityUnavailable("away"), TooManyAttempts("slow down")])
async def test_a_check_that_is_impossible_is_made_again(at_once, error):
    client = Client(error, error, NotIdentified("revoked"))
    assert await client.next_event() == "ended"
    assert client.checks == 3


async def test_an_expired_credential_that_cannot_be_checked_ends(at_once):
    client = Client(IdentityUnavailable("away"), identity=Identity("alice", expires_at=NOW))
    client.now = NOW + credential_watch._LEEWAY_SECONDS + 1
    assert await client.next_event() == "ended"
    assert client.checks == 1


async def test_other_groups_are_reported_once(at_once):
    member = Identity("alice", frozenset({"team"}))
    client = Client(member, member, member, NotIdentified("revoked"))
    assert await client.next_event() in (member, "ended")
    while client.events[-1] != "ended":
        await client.next_event()
    assert client.events == [member, "ended"]


async def test_checks_are_spread_and_not_later_than_the_expiry():
    client = Client(ALICE)
    delays = [client.watch._delay() for _ in range(200)]
    most = credential_watch.CHECK_SECONDS
    assert most / 2 <= min(delays) < 0.6 * most
    assert 0.9 * most < max(delays) <= most
    client.watch._identity = Identity("alice", expires_at=NOW + 7)
    assert client.watch._delay() == 7
    # Methods may accept it a little longer.
    for expired in (NOW, NOW - 20):
        client.watch._identity = Identity("alice", expires_at=expired)
        assert client.watch._delay() == credential_watch._AGAIN_SECONDS
    client.watch.close()


async def test_a_closed_watch_keeps_nothing_of_its_request():
    """The next check would be in minutes."""

    class Handler:
        pass

    current = ContextVar("current")
    handlers = []

    async def serve():
        handler = Handler()
        current.set({"handler": handler})  # as jupyter_server does
        handlers.append(weakref.ref(handler))
        Client(ALICE).watch.close()

    # The loop forgets a cancelled timer when it is the next one.
    another = asyncio.get_running_loop().call_later(100, print)
    await asyncio.create_task(serve())
    await asyncio.sleep(0)  # the loop forgets the task
    gc.collect()
    assert [handler() for handler in handlers] == [None]
    another.cancel()


async def test_a_closed_watch_checks_nothing(at_once):
    client = Client(NotIdentified("revoked"))
    client.watch.close()
    for _ in range(10):
        await asyncio.sleep(0)
    assert client.checks == 0


async def test_closing_ends_a_check_that_is_under_way(at_once):
    client = Client(NotIdentified("revoked"))
    asking, answer = asyncio.Event(), asyncio.Event()

    async def identify():
        asking.set()
        await answer.wait()
        return Identification(error=NotIdentified("revoked"))

    client.watch._identify = identify
    await within_timeout(asking.wait())
    client.watch.close()
    answer.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert client.events == []
