"""The method `jupyterhub`, with a hub of the test's own on loopback."""

import asyncio
import logging

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from api.certificates import write_certificate
from fake_clock import Clock
from gateway_provisioners.aio import Changes
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import IdentityUnavailable, NotIdentified
from gateway_provisioners.gateway.identity.methods import jupyterhub
from gateway_provisioners.gateway.identity.methods.jupyterhub import (
    JupyterHubMethod,
    JupyterHubSettings,
)
from timeouts import TIMEOUT_SECONDS, within_timeout

TOKEN = "0123456789abcdef0123456789abcdef"


class Hub:
    """A hub that answers as the test says, and keeps what it was asked."""

    def __init__(self):
        self.answers = {}
        self.status = 200
        self.body = None
        self.asked = []
        self._changes = Changes()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def knows(self, token, name="alice", scopes=None, **model):
        scopes = [f"access:servers!server={name}/"] if scopes is None else scopes
        self.answers[token] = {"name": name, "kind": "user", "scopes": scopes, **model}

    async def until_asked(self, token, times=1):
        await within_timeout(self._changes.until(lambda: self.asked.count(token) >= times or None))

    async def handle(self, request):
        assert request.path == "/hub/api/user"
        scheme, _, token = request.headers["Authorization"].partition(" ")
        assert scheme == "token"
        self.asked.append(token)
        self._changes.changed()
        await self.may_answer.wait()
        if self.status in (301, 302, 307):
            raise web.HTTPFound("/elsewhere")
        if self.body is not None or self.status != 200:
            return web.Response(status=self.status, body=self.body)
        if token not in self.answers:
            return web.json_response({"status": 403, "message": "Forbidden"}, status=403)
        return web.json_response(self.answers[token])


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def hub():
    hub = Hub()
    application = web.Application()
    application.router.add_get("/{path:.*}", hub.handle)
    hub.server = TestServer(application)
    await hub.server.start_server()
    yield hub
    hub.may_answer.set()
    await hub.server.close()


@pytest.fixture
async def method_of(hub, clock):
    methods = []

    def new(**settings):
        url = str(hub.server.make_url("/hub/api"))
        values = msgspec.convert(
            {"type": "jupyterhub", "apiUrl": url, **settings}, JupyterHubSettings
        )
        methods.append(JupyterHubMethod("hub", values, clock=clock))
        return methods[-1]

    yield new
    for method in methods:
        await method.close()


async def test_a_user_with_a_server_is_identified_once_a_minute(hub, method_of, clock):
    hub.knows(TOKEN, groups=["analysts"])
    method = method_of()
    for _ in range(3):
        identity = await method.identify(Credential(TOKEN))
        assert (identity.name, identity.groups) == ("alice", {"analysts"})
        assert not identity.is_admin
    assert hub.asked == [TOKEN]
    clock.now += 59.9
    await method.identify(Credential(TOKEN))
    assert len(hub.asked) == 1
    clock.now += 0.1
    await method.identify(Credential(TOKEN))
    assert len(hub.asked) == 2


async def test_an_administrator_of_the_hub_is_none_of_the_gateway(hub, method_of):
    hub.knows(TOKEN, admin=True, groups=["operators"])
    assert not (await method_of().identify(Credential(TOKEN))).is_admin
    assert (await method_of(adminUsers=["alice"]).identify(Credential(TOKEN))).is_admin
    assert (await method_of(adminGroups=["operators"]).identify(Credential(TOKEN))).is_admin


GOOD = [
    "access:servers!server=alice/",
    "access:servers!server=alice/research",
    "access:servers!user=alice",
    "access:servers",
]
BAD = [
    "access:servers!server=bob/",
    "access:servers!server=alice2/",
    "access:servers!server=alice",
    "access:servers!server=",
    "access:servers!user=bob",
    "access:servers!user=",
    "access:servers!group=alice",
    "access:servers!service=alice",
    "access:services",
    "access:services!server=alice/",
    "servers!server=alice/",
    "read:users!user=alice",
    "users:activity!user=alice",
    "Access:servers!server=alice/",
    "access:servers !server=alice/",
    " access:servers",
    "access:servers!server!server=alice/",
    "!server=alice/",
    "",
]


@pytest.mark.parametrize("scope", GOOD)
async def test_scopes_that_suffice(hub, method_of, scope):
    hub.knows(TOKEN, scopes=["users:activity!user=alice", scope])
    assert (await method_of().identify(Credential(TOKEN))).name == "alice"


@pytest.mark.parametrize("scope", BAD)
async def test_scopes_that_do_not_suffice(hub, method_of, scope):
    hub.knows(TOKEN, scopes=[scope])
    with pytest.raises(NotIdentified, match="lacks a scope that the gateway requires"):
        await method_of().identify(Credential(TOKEN))


@pytest.mark.attack(15)
async def test_a_token_given_to_another_users_server_is_refused(hub, method_of):
    """alice opened bob's server: it holds a token of hers, with which it must not act as alice."""
    hub.knows(TOKEN, scopes=["access:servers!server=bob/", "read:users:name!user=alice"])
    with pytest.raises(NotIdentified) as refusal:
        await method_of().identify(Credential(TOKEN))
    assert str(refusal.value) == (
        "This token of the JupyterHub lacks a scope that the gateway requires: use that of a server of "
        "your own, or one with 'access:servers!server=USER/' for the user 'alice'."
    )


HOSTILE_NAMES = [
    "x!user=bob",
    "bob!server=bob",
    "USER",
    "alice@example.com",
    "d=o!m",
    "a b",
    "日本",
    "%2e",
    "bob%2F",
    "*",
    "user=bob",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_special_characters_of_names_are_only_characters(hub, method_of, name):
    hub.knows(TOKEN, name=name)
    hub.knows("f" * 32, name=name, scopes=[f"access:servers!user={name}"])
    hub.knows("e" * 32, name="bob", scopes=[f"access:servers!server={name}/"])
    hub.knows("d" * 32, name="bob", scopes=[f"access:servers!user={name}"])
    method = method_of()
    assert (await method.identify(Credential(TOKEN))).name == name
    assert (await method.identify(Credential("f" * 32))).name == name
    for other in "ed":
        with pytest.raises(NotIdentified):
            await method.identify(Credential(other * 32))


@pytest.mark.parametrize("name", ["", "service/grader", "bob/", "a" * 254, "a\x00b", " a", "a\n"])
async def test_names_that_nobody_can_have(hub, method_of, name):
    hub.knows(TOKEN, name=name, scopes=["access:servers"])
    with pytest.raises(NotIdentified):
        await method_of().identify(Credential(TOKEN))


async def test_services_are_let_in_by_name_only(hub, method_of):
    hub.knows(TOKEN, name="grader", kind="service", scopes=["access:servers"])
    with pytest.raises(NotIdentified, match="service 'grader' may not use the gateway"):
        await method_of(services=["other"]).identify(Credential(TOKEN))
    identity = await method_of(services=["grader"]).identify(Credential(TOKEN))
    assert identity.name == "service/grader"


async def test_a_user_does_not_count_as_the_service_of_that_name(hub, method_of):
    hub.knows(TOKEN, name="grader", scopes=["access:services!service=grader"])
    with pytest.raises(NotIdentified, match="lacks a scope"):
        await method_of(services=["grader"]).identify(Credential(TOKEN))


@pytest.mark.parametrize("kind", ["", "group", "SERVICE"])
async def test_other_owners_of_tokens_are_refused(hub, method_of, kind):
    hub.knows(TOKEN, kind=kind)
    with pytest.raises(NotIdentified, match="neither a user's nor a service's"):
        await method_of(services=["alice"]).identify(Credential(TOKEN))


async def test_all_required_scopes_are_needed(hub, method_of):
    method = method_of(
        requiredScopes=["access:services!service=gateway", "access:servers!user=USER"],
        services=["grader"],
    )
    hub.knows("a" * 32, scopes=["access:services!service=gateway", "access:servers!user=alice"])
    hub.knows("b" * 32, scopes=["access:services", "access:servers"])
    for token in "ab":
        assert (await method.identify(Credential(token * 32))).name == "alice"
    hub.knows("c" * 32, scopes=["access:servers!user=alice"])
    hub.knows("d" * 32, scopes=["access:services!service=gateway"])
    # One server is less than all of the user's.
    both = ["access:services!service=gateway", "access:servers!server=alice/"]
    hub.knows("e" * 32, scopes=both)
    for token in "cde":
        with pytest.raises(NotIdentified):
            await method.identify(Credential(token * 32))
    # A service has no servers, but needs what does not concern a user.
    hub.knows("f" * 32, "grader", ["access:services!service=gateway"], kind="service")
    assert (await method.identify(Credential("f" * 32))).name == "service/grader"
    hub.knows("g" * 32, "grader", [], kind="service")
    with pytest.raises(NotIdentified):
        await method.identify(Credential("g" * 32))


@pytest.mark.parametrize(
    ("token", "fits"),
    [
        (TOKEN, True),
        ("a-token.of~my:own", True),
        ("", False),
        ("short", False),
        ("a" * 1025, False),
        ("with space", False),
        ("new\r\nX-Evil: 1", False),
        ("null\x00byte", False),
        ("tab\tinside", False),
        ("ümläuteeee", False),
        ("delete\x7fdelete", False),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", False),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", False),
    ],
)
async def test_which_tokens_may_be_the_hubs(method_of, token, fits):
    assert method_of().fits(Credential(token)) is fits


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_an_unknown_token_is_asked_about_every_five_seconds(
    hub, method_of, clock, status, caplog
):
    hub.status = status
    method = method_of()
    for _ in range(2):
        with pytest.raises(NotIdentified, match="wrong, expired or revoked"):
            await method.identify(Credential(TOKEN))
    assert len(hub.asked) == 1
    assert ("check that apiUrl ends in /hub/api" in caplog.text) == (status == 404)
    clock.now += 5
    hub.status = 200
    hub.knows(TOKEN)
    assert (await method.identify(Credential(TOKEN))).name == "alice"


async def test_a_revoked_token_is_refused_after_a_minute(hub, method_of, clock):
    hub.knows(TOKEN)
    method = method_of()
    await method.identify(Credential(TOKEN))
    del hub.answers[TOKEN]
    clock.now += 59
    await method.identify(Credential(TOKEN))
    clock.now += 1
    with pytest.raises(NotIdentified):
        await method.identify(Credential(TOKEN))
    # It is not known any more, also when the hub is away then.
    hub.status = 503
    clock.now += 5
    with pytest.raises(IdentityUnavailable):
        await method.identify(Credential(TOKEN))


BROKEN = [
    (500, None),
    (502, b"<html>"),
    (503, None),
    (429, None),
    (400, None),
    (302, None),
    (204, b""),
    (200, b"<html>not a hub</html>"),
    (200, b"[]"),
    (200, b'{"name": 1, "kind": "user"}'),
    (200, b'{"kind": "user", "scopes": ["access:servers"]}'),
    (200, b'{"name": "alice", "kind": "user", "scopes": "access:servers"}'),
    (200, b"[" * 100_000),
    (200, b'{"groups": ' + b"[" * 100_000),
    (200, b'{"servers": ' + b"[" * 100_000),
    (200, b'{"name": "\xff", "kind": "user", "scopes": ["access:servers"]}'),
    (200, b" " * (1024 * 1024 + 1)),
]


@pytest.mark.parametrize(("status", "body"), BROKEN)
async def test_without_the_hub_known_tokens_go_on_for_ten_minutes(
    hub, method_of, clock, status, body
):
    hub.knows(TOKEN)
    method = method_of()
    await method.identify(Credential(TOKEN))
    hub.status, hub.body = status, body
    clock.now += 60
    with pytest.raises(IdentityUnavailable, match="The JupyterHub does not answer"):
        await method.identify(Credential("f" * 32))
    assert (await method.identify(Credential(TOKEN))).name == "alice"
    assert (await method.identify(Credential(TOKEN))).name == "alice"
    assert hub.asked.count(TOKEN) == 2  # not at every request
    clock.now += 539
    assert (await method.identify(Credential(TOKEN))).name == "alice"
    clock.now += 1  # past the pause, and ten minutes since the hub confirmed the token
    clock.now += 5
    with pytest.raises(IdentityUnavailable):
        await method.identify(Credential(TOKEN))
    hub.status, hub.body = 200, None
    assert (await method.identify(Credential(TOKEN))).name == "alice"


async def test_a_hub_that_is_gone(hub, method_of, clock, caplog):
    hub.knows(TOKEN)
    method = method_of()
    await method.identify(Credential(TOKEN))
    await hub.server.close()
    clock.now += 60
    caplog.set_level(logging.DEBUG)
    assert (await method.identify(Credential(TOKEN))).name == "alice"
    for number in range(10):
        with pytest.raises(IdentityUnavailable):
            await method.identify(Credential(f"secret-token-{number}"))
    [record] = [record for record in caplog.records if "cannot be asked" in record.message]
    assert record.message == (
        "The JupyterHub of the method hub cannot be asked about tokens (ClientConnectorError). Those that it "
        "knew are good for another 10 minutes at most."
    )
    assert TOKEN not in caplog.text
    assert "secret-token" not in caplog.text


async def test_a_hub_that_hangs_is_not_waited_for(hub, method_of, monkeypatch):
    monkeypatch.setattr(jupyterhub, "_TIMEOUT_SECONDS", 0.05)
    hub.may_answer.clear()
    with pytest.raises(IdentityUnavailable):
        await method_of().identify(Credential(TOKEN))


async def test_a_token_is_asked_about_once_at_a_time(hub, method_of):
    hub.knows(TOKEN)
    hub.may_answer.clear()
    method = method_of()
    clients = [asyncio.create_task(method.identify(Credential(TOKEN))) for _ in range(20)]
    await hub.until_asked(TOKEN)
    clients[0].cancel()  # its client has gone away, and the others still get their answer
    hub.may_answer.set()
    results = await asyncio.gather(*clients, return_exceptions=True)
    assert [identity.name for identity in results[1:]] == ["alice"] * 19
    assert isinstance(results[0], asyncio.CancelledError)
    assert hub.asked == [TOKEN]


@pytest.mark.attack(15)
async def test_a_flood_of_unknown_tokens_leaves_known_users_alone(
    hub, method_of, clock, monkeypatch
):
    monkeypatch.setattr(jupyterhub, "_TIMEOUT_SECONDS", TIMEOUT_SECONDS)
    hub.knows(TOKEN)
    method = method_of()
    await method.identify(Credential(TOKEN))
    clock.now += 60
    hub.may_answer.clear()
    flood = [
        asyncio.create_task(method.identify(Credential(f"unknown-{number}")))
        for number in range(1200)
    ]
    known = asyncio.create_task(method.identify(Credential(TOKEN)))
    await hub.until_asked(TOKEN, times=2)  # at once, beside the unknown ones
    assert len(hub.asked) <= 2 + 8
    hub.may_answer.set()
    assert (await known).name == "alice"
    errors = await asyncio.gather(*flood, return_exceptions=True)
    assert {type(error) for error in errors} == {NotIdentified, IdentityUnavailable}
    assert sum("Too many tokens wait" in str(error) for error in errors) == 200


async def test_caches_hold_the_most_recently_used_tokens(hub, method_of, monkeypatch):
    monkeypatch.setattr(jupyterhub, "_MOST_TOKENS", 2)
    method = method_of()
    for letter in "abc":
        hub.knows(letter * 32)
    for letter in "abacb":
        await method.identify(Credential(letter * 32))
    assert [token[0] for token in hub.asked] == ["a", "b", "c", "b"]
    for _ in range(2):
        for number in range(3):  # in a cache of their own
            with pytest.raises(NotIdentified):
                await method.identify(Credential(f"unknown-{number}"))
    await method.identify(Credential("b" * 32))
    assert len(hub.asked) == 4 + 6


async def test_close_ends_the_requests_under_way(hub, method_of):
    hub.may_answer.clear()
    method = method_of()
    client = asyncio.create_task(method.identify(Credential(TOKEN)))
    await hub.until_asked(TOKEN)
    await method.close()
    with pytest.raises(asyncio.CancelledError):
        await client


async def test_neither_redirects_nor_cookies_are_followed(hub, method_of):
    hub.status = 302
    with pytest.raises(IdentityUnavailable):
        await method_of().identify(Credential(TOKEN))
    assert hub.asked == [TOKEN]


@pytest.mark.parametrize(
    "settings",
    [
        {"apiUrl": "ftp://hub/hub/api"},
        {"apiUrl": "hub:8081/hub/api"},
        {"apiUrl": "http://user:password@hub/hub/api"},
        {"apiUrl": "http://hub/hub/api?a=b"},
        {"apiUrl": ""},
        {"requiredScopes": []},
        {"requiredScopes": [""]},
        {"requiredScopes": ["access:servers!server="]},
        {"requiredScopes": ["access:servers!server"]},
        {"unknown": 1},
    ],
)
def test_settings_that_cannot_work(settings):
    values = {"type": "jupyterhub", "apiUrl": "http://hub:8081/hub/api", **settings}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(values, JupyterHubSettings)


def test_settings_without_the_hubs_address():
    with pytest.raises(msgspec.ValidationError, match="apiUrl"):
        msgspec.convert({"type": "jupyterhub"}, JupyterHubSettings)


def test_the_hubs_own_certificate_authority(tmp_path):
    url = "https://hub:8081/hub/api"
    with pytest.raises(ConfigurationError, match=r"caFile: .*ca\.crt cannot be used: "):
        JupyterHubMethod("hub", JupyterHubSettings(api_url=url, ca_file=str(tmp_path / "ca.crt")))
    write_certificate(tmp_path, "hub")
    method = JupyterHubMethod(
        "hub", JupyterHubSettings(api_url=url, ca_file=str(tmp_path / "tls.crt"))
    )
    assert method.order == 40
