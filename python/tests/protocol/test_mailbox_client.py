"""The gateway's side of the mailbox port, before a stand-in for the launcher."""

import contextlib
import hmac
import json

import pytest
import zmq
import zmq.asyncio
from jupyter_client.manager import KernelManager

from gateway_provisioners.gateway.process.limits import Limits
from gateway_provisioners.gateway.websocket import mailbox_client
from gateway_provisioners.gateway.websocket.mailbox_client import MailboxConnection, Welcome
from gateway_provisioners.provisioners.mailbox import MailboxEndpoint
from timeouts import TIMEOUT_SECONDS, within_timeout


@contextlib.contextmanager
def launcher():
    """A mailbox port, and a connection to it."""
    context = zmq.asyncio.Context()
    router = context.socket(zmq.ROUTER)
    router.linger = 0
    kernel = KernelManager(ip="127.0.0.1")
    port = router.bind_to_random_port("tcp://127.0.0.1")
    connection = MailboxConnection(
        kernel, MailboxEndpoint(port, b"key"), "session", Limits(), welcome_timeout=TIMEOUT_SECONDS
    )
    try:
        yield router, connection
    finally:
        connection.close()
        kernel.context.term()
        router.close()
        context.term()


async def welcomed_with(offer):
    with launcher() as (router, connection):
        route, *_ = await within_timeout(router.recv_multipart())
        content = {"execution_state": "idle", "dropped": 3, "last": 7, **offer}
        await router.send_multipart([route, b"welcome", json.dumps(content).encode()])
        return await within_timeout(connection.welcomed)


@pytest.mark.parametrize("features", [(), ("one", "two")])
async def test_attach_carries_the_gateways_features(monkeypatch, features):
    monkeypatch.setattr(mailbox_client, "GATEWAY_FEATURES", features)
    with launcher() as (router, _):
        _, kind, signature, content = await within_timeout(router.recv_multipart())
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
        ({"features": ["x" * 10_000]}, ()),
        (
            {"features": [f"f{number}" for number in range(5_000)]},
            tuple(f"f{n}" for n in range(32)),
        ),
    ],
    ids=["none", "two", "others", "null", "text", "object", "long", "many"],
)
async def test_welcome_with_features(offer, features):
    assert await welcomed_with(offer) == Welcome("idle", 3, features, 7)
