"""A client's session with a kernel, without a gateway: what is kept, confirmed and bounded."""

import asyncio

import pytest
from gateway_provisioners_client.server import relay as relay_module
from gateway_provisioners_client.server import relays as relays_module
from gateway_provisioners_client.server.relays import Relays
from gateway_provisioners_client.session.connection import ConnectionState, Phase

from timeouts import within_timeout


class Remote:
    """In the place of a connection to a gateway."""

    def __init__(self, api, kernel_id, session_id, *, deliver, state, room):
        self.key = (kernel_id, session_id)
        self.deliver, self.state, self.room = deliver, state, room
        self.sent = []
        self.closed = asyncio.Event()
        made.append(self)

    async def run(self):
        await self.closed.wait()

    async def close(self):
        self.closed.set()

    async def send(self, channel, parts):
        self.sent.append((channel, parts))


class Browser:
    """A websocket that notes what it is given."""

    def __init__(self):
        self.written, self.pings, self.is_closed = [], [], False

    def write(self, channel, parts):
        self.written.append(parts[0])

    def ping(self, number):
        self.pings.append(number)

    def close(self):
        self.is_closed = True


made = []


@pytest.fixture(autouse=True)
def remote(monkeypatch):
    made.clear()
    monkeypatch.setattr(relay_module, "RemoteKernel", Remote)
    monkeypatch.setattr(relay_module, "LINGER_SECONDS", 0)


def attached(relays, session_id="s"):
    """Return the relay of a session, and a browser that is attached to it."""
    relay, browser = relays.take("k", session_id), Browser()
    relay.attach(None, browser)
    return relay, browser


async def settled():
    """Let everything happen that is due."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_next_websocket_gets_what_was_not_read():
    relays = Relays()
    relay, first = attached(relays)
    for number in range(3):
        made[0].deliver("iopub", [b"%d" % number])
    relay.has_read(1)
    again, second = attached(relays)
    assert again is relay
    assert first.is_closed
    assert first.written == [b"0", b"1", b"2"]
    assert second.written == [b"1", b"2"]
    assert len(made) == 1
    relay.detach(first)  # its end comes late
    made[0].deliver("iopub", [b"3"])
    assert second.written[-1] == b"3"
    await relays.close()


async def test_a_restart_is_announced_to_one_websocket_only():
    relays = Relays()
    relay, first = attached(relays)
    header, content = b'{"msg_type": "status"}', b'{"execution_state": "restarting"}'
    made[0].deliver("iopub", [b"before", b"{}", b"{}", b"{}"])
    made[0].deliver("iopub", [header, b"{}", b"{}", content])
    made[0].deliver("iopub", [b"after", b"{}", b"{}", b"{}"])
    assert first.written == [b"before", header, b"after"]
    # JupyterLab opens another one at once, and reads nothing more from this one.
    _, second = attached(relays)
    assert second.written == [b"before", b"after"]

    relay.detach(second)
    made[0].deliver("iopub", [header, b"{}", b"{}", content])
    _, third = attached(relays)
    _, fourth = attached(relays)
    assert third.written == [b"before", b"after", header]
    assert fourth.written == [b"before", b"after"]
    relay.has_read(4)
    assert not relay.unread_bytes
    await relays.close()


async def test_reading_stops_until_the_browser_has_read(monkeypatch):
    monkeypatch.setattr(relay_module, "_MOST_BYTES", 100)
    relays = Relays()
    relay, _ = attached(relays)
    await within_timeout(made[0].room())
    made[0].deliver("iopub", [b"x" * 200])
    room = asyncio.ensure_future(made[0].room())
    await asyncio.sleep(0)
    assert not room.done()
    relay.has_read(1)
    await within_timeout(room)
    assert not relay.unread_bytes
    await relays.close()


async def test_pings_follow_many_bytes_at_once_and_few_soon(monkeypatch):
    relays = Relays()
    _, browser = attached(relays)
    made[0].deliver("iopub", [b"x" * 300_000])
    assert browser.pings == [1]
    monkeypatch.setattr(relay_module, "_PING_SECONDS", 0)
    made[0].deliver("iopub", [b"x"])
    await settled()
    assert browser.pings == [1, 2]
    await relays.close()


async def test_a_session_that_is_away_keeps_its_messages_and_no_connection():
    relays = Relays()
    relay, browser = attached(relays)
    made[0].deliver("iopub", [b"0"])
    relay.detach(browser)
    await within_timeout(made[0].closed.wait())
    await settled()
    assert relay.is_idle
    again, browser = attached(relays)
    assert again is relay
    assert browser.written == [b"0"]
    assert len(made) == 2
    relay.has_read(1)
    relay.detach(browser)
    await within_timeout(made[1].closed.wait())
    await settled()
    assert len(relays) == 0


async def test_sessions_that_are_away_are_bounded(monkeypatch):
    monkeypatch.setattr(relays_module, "_MOST_AWAY_BYTES", 250)
    relays = Relays()
    for number in range(4):
        relay, browser = attached(relays, f"s{number}")
        made[number].deliver("iopub", [b"x" * 100])
        relay.detach(browser)
        await within_timeout(made[number].closed.wait())
        await settled()
    assert list(relays._relays) == [("k", "s2"), ("k", "s3")]


async def test_a_kernel_that_is_gone_is_not_connected_again():
    relays = Relays()
    relay, browser = attached(relays)
    made[0].state(ConnectionState(Phase.GONE, "It is gone."))
    await made[0].close()
    await settled()
    assert not browser.is_closed
    await relay.send("shell", [b"{}"])  # which has an answer in words
    assert made[0].sent
    relay.detach(browser)
    await settled()
    assert len(relays) == 0


async def test_a_browser_is_disconnected_if_its_session_breaks():
    relays = Relays()
    _, browser = attached(relays)
    await made[0].close()
    await settled()
    assert browser.is_closed
