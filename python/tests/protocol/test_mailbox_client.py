"""The gateway's side of the mailbox port, before a stand-in for the launcher."""

import asyncio
import contextlib
import hmac
import json

import pytest
import zmq
import zmq.asyncio
from jupyter_client.manager import KernelManager
from launched import GUARD

from gateway_provisioners.gateway.websocket import mailbox_client
from gateway_provisioners.gateway.websocket.mailbox_client import MailboxConnection, Welcome


@contextlib.contextmanager
def launcher():
    """A mailbox port, and a connection to it."""
    context = zmq.asyncio.Context()
    router = context.socket(zmq.ROUTER)
    router.linger = 0
    kernel = KernelManager(ip="127.0.0.1")
    kernel.session.key = b"key"
    connection = MailboxConnection(kernel, router.bind_to_random_port("tcp://127.0.0.1"), "session")
    try:
        yield router, connection
    finally:
        connection.close()
        kernel.context.term()
        router.close()
        context.term()


async def welcomed_with(offer):
    with launcher() as (router, connection):
        route, *_ = await asyncio.wait_for(router.recv_multipart(), GUARD)
        content = {"execution_state": "idle", "dropped": 3, "last": 7, **offer}
        await router.send_multipart([route, b"welcome", json.dumps(content).encode()])
        return await asyncio.wait_for(connection.welcomed, GUARD)


@pytest.mark.parametrize("features", [(), ("one", "two")])
async def test_attach_carries_the_gateways_features(monkeypatch, features):
    monkeypatch.setattr(mailbox_client, "GATEWAY_FEATURES", features)
    with launcher() as (router, _):
        _, kind, signature, content = await asyncio.wait_for(router.recv_multipart(), GUARD)
    assert kind == b"attach"
    assert signature.decode() == hmac.new(b"key", b"attach" + content, "sha256").hexdigest()
    assert json.loads(content) == {"session": "session", "features": list(features)}


@pytest.mark.parametrize(
    ("offer", "features"),
    [
        ({}, ()),  # a launcher from before there were features
        ({"features": ["mailbox", "state"]}, ("mailbox", "state")),
        ({"features": ["mailbox", "", 5, None, {}, ["state"]]}, ("mailbox",)),
        ({"features": None}, ()),
        ({"features": "mailbox"}, ()),
        ({"features": {"mailbox": True}}, ()),
        ({"features": ["x" * 100_000]}, ()),
        (
            {"features": [f"f{number}" for number in range(100_000)]},
            tuple(f"f{n}" for n in range(32)),
        ),
    ],
    ids=["none", "two", "others", "null", "text", "object", "long", "many"],
)
async def test_welcome_with_features(offer, features):
    assert await welcomed_with(offer) == Welcome("idle", 3, features)
