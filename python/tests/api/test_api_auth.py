"""Authentication, and secrets that never reach the log."""

import gc
import logging
import weakref

import aiohttp
import pytest

from api.running import TOKEN, running_gateway
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.http.handlers import GatewayHandlerMixin
from timeouts import eventually

SESSION = "/api/sessions/3f0e6a44-7b0a-4a55-9f4a-7b9c3b7d2a11"
KERNEL = "/api/kernels/3f0e6a44-7b0a-4a55-9f4a-7b9c3b7d2a10"
OPEN = {"/healthz", "/metrics"}
ROUTES = [
    ("GET", "/api"),
    ("GET", "/api/kernels"),
    ("POST", "/api/kernels"),
    ("GET", KERNEL),
    ("DELETE", KERNEL),
    ("POST", f"{KERNEL}/interrupt"),
    ("POST", f"{KERNEL}/restart"),
    ("GET", f"{KERNEL}/channels"),
    ("GET", f"{KERNEL}/progress"),
    ("GET", "/api/kernelspecs"),
    ("GET", "/api/kernelspecs/local"),
    ("GET", "/kernelspecs/local/kernel.json"),
    ("HEAD", "/kernelspecs/local/kernel.json"),
    ("GET", "/api/sessions"),
    ("POST", "/api/sessions"),
    ("GET", SESSION),
    ("PATCH", SESSION),
    ("DELETE", SESSION),
    ("GET", "/readyz"),
    ("GET", "/no/such/page"),
]


@pytest.mark.attack(15)
async def test_every_route_is_known_to_these_tests(gateway):
    """A route that is added must be added to ROUTES, or be open on purpose."""
    rules = gateway.app.web_app.wildcard_router.rules
    for rule in rules:
        paths = [*OPEN, *(path for _, path in ROUTES)]
        first = [next(r for r in rules if r.matcher.regex.match(path)) for path in paths]
        assert rule in first, rule.matcher.regex.pattern


@pytest.mark.attack(15)
@pytest.mark.parametrize("wrong", ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é"])
async def test_every_route_needs_the_token(gateway, wrong):
    async with aiohttp.ClientSession(headers={"Authorization": f"token {wrong}"}) as session:
        for method, path in ROUTES:
            async with session.request(method, gateway.url + path) as response:
                assert response.status == 401, (method, path)
            async with session.request(method, gateway.url + path, params={"token": wrong}) as r:
                assert r.status == 401, (method, path)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{gateway.url}{KERNEL}/channels")
        assert refused.value.status == 401


@pytest.mark.attack(15)
async def test_a_wrong_token_does_not_reach_a_running_kernel(gateway):
    kernel_id = await gateway.client.start("local")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{gateway.url}/api/kernels/{kernel_id}/channels?token=x")
        assert refused.value.status == 401


@pytest.mark.parametrize("scheme", ["token", "Bearer"])
async def test_the_token_may_be_in_the_header_or_in_the_query(gateway, scheme):
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"{scheme} {TOKEN}"}
        async with session.get(f"{gateway.url}/api/kernels", headers=headers) as response:
            assert response.status == 200
        async with session.get(f"{gateway.url}/api/kernels?token={TOKEN}") as response:
            assert response.status == 200
            assert not response.cookies


async def test_probes_have_a_port_of_their_own_without_the_token(gateway):
    async with aiohttp.ClientSession() as session:
        for path in (*OPEN, "/readyz"):
            async with session.get(gateway.probes.url + path) as response:
                assert response.status == 200
        async with session.get(f"{gateway.probes.url}/api/kernels") as response:
            assert response.status == 404


async def test_port_of_clients_names_the_port_of_probes(gateway):
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{gateway.url}/healthz") as response:
            assert (response.status, await response.read()) == (200, b"")
        async with session.get(f"{gateway.url}/metrics") as response:
            assert response.status == 404
            assert f"port {gateway.app.health_port}" in (await response.json())["message"]


async def test_a_browsers_preflight_needs_no_token():
    async with (
        running_gateway(allow_origin="https://lab.example") as gateway,
        aiohttp.ClientSession() as session,
    ):
        headers = {"Origin": "https://lab.example", "Access-Control-Request-Method": "POST"}
        async with session.options(f"{gateway.url}/api/kernels", headers=headers) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "https://lab.example"


async def test_a_refused_request_is_no_garbage(gateway, monkeypatch):
    """Strangers send many, and the memory of each would wait for the garbage collector."""
    handlers = []

    def remember(handler):
        handlers.append(weakref.ref(handler))
        return begin_audit(handler)

    begin_audit = GatewayHandlerMixin.begin_audit
    monkeypatch.setattr(GatewayHandlerMixin, "begin_audit", remember)
    gc.collect()
    gc.disable()
    try:
        for headers in ({}, {"Authorization": "token wrong"}):
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.get(f"{gateway.url}/api/kernels") as response,
            ):
                assert response.status == 401

        async def are_gone():
            return all(handler() is None for handler in handlers)

        await eventually(are_gone)
        assert len(handlers) == 2
    finally:
        gc.enable()


async def test_the_gateway_does_not_start_without_a_token():
    with pytest.raises(ConfigurationError, match="KG_AUTH_TOKEN"):
        async with running_gateway(auth_token=""):
            pass


async def test_the_operator_can_allow_unauthenticated_access(monkeypatch):
    monkeypatch.setenv("GP_ALLOW_UNAUTHENTICATED", "true")
    async with running_gateway(auth_token="") as gateway:
        assert await gateway.client.kernels() == {}


@pytest.mark.attack(15)
async def test_the_token_is_never_logged(gateway, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    kernel_id = await gateway.client.start("local")

    def fail():
        raise RuntimeError("details")

    monkeypatch.setattr(gateway.app.kernel_spec_manager, "get_all_specs", fail)
    async with aiohttp.ClientSession() as session:
        for path in (
            "/api/kernels",
            "/api/kernelspecs",  # 500, with a traceback in the log
            "/api/kernelspecs/nope",
            "/nope",
            "/healthz",
            SESSION,
            "/api/kernelspecs/%ff",
        ):
            async with session.get(f"{gateway.url}{path}?token={TOKEN}&x=1") as response:
                await response.read()
        async with session.post(f"{gateway.url}/api/kernels?token={TOKEN}", data=b"{") as response:
            assert response.status == 400
        channels = f"{gateway.url}/api/kernels/{kernel_id}/channels?token={TOKEN}"
        async with session.ws_connect(channels) as websocket:
            await websocket.send_str("not json")
            await websocket.receive()
    assert "internal error" in caplog.text
    assert f"/api/kernels/{kernel_id}/channels" in caplog.text
    assert TOKEN not in caplog.text


async def test_an_internal_error_does_not_reveal_internals_to_clients(gateway, monkeypatch):
    def fail():
        raise RuntimeError("details")

    monkeypatch.setattr(gateway.app.kernel_spec_manager, "get_all_specs", fail)
    async with gateway.client._session.get(f"{gateway.url}/api/kernelspecs") as response:
        assert response.status == 500
        assert set(await response.json()) == {"reason", "message"}
        assert "details" not in await response.text()


HEADER = "X-Gateway-Token"
PROXYS = {"Authorization": "Bearer the-proxys-own-which-is-not-ours"}


@pytest.mark.parametrize("value", [f"token {TOKEN}", f"Bearer {TOKEN}", TOKEN, f" {TOKEN}"])
async def test_token_in_a_header_of_its_own(value, caplog):
    """A proxy with OpenID Connect in front of the gateway has Authorization for itself."""
    caplog.set_level(logging.DEBUG)
    origins = ["https://lab.example.com"]
    async with (
        running_gateway(auth_header=HEADER, allowed_origins=origins) as gateway,
        aiohttp.ClientSession(headers={**PROXYS, HEADER: value}) as session,
    ):
        async with session.post(f"{gateway.url}/api/kernels", json={"name": "local"}) as response:
            assert response.status == 201, await response.text()
            kernel_id = (await response.json())["id"]
        channels = f"{gateway.url}/api/kernels/{kernel_id}/channels"
        async with session.ws_connect(channels) as websocket:
            assert not websocket.closed
        async with session.options(
            f"{gateway.url}/api/kernels", headers={"Origin": origins[0]}
        ) as response:
            assert HEADER in response.headers["Access-Control-Allow-Headers"]
    assert TOKEN not in caplog.text


async def test_authorization_is_not_read_beside_a_header_of_its_own():
    async with running_gateway(auth_header=HEADER) as gateway, aiohttp.ClientSession() as session:
        for headers in (
            {"Authorization": f"token {TOKEN}"},
            {"Authorization": f"token {TOKEN}", HEADER: "token wrong"},
        ):
            async with session.get(f"{gateway.url}/api/kernels", headers=headers) as response:
                assert response.status == 401
        async with session.get(f"{gateway.url}/api/kernels", params={"token": TOKEN}) as response:
            assert response.status == 200


async def test_authorization_needs_a_scheme(gateway):
    async with (
        aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session,
        session.get(f"{gateway.url}/api/kernels") as response,
    ):
        assert response.status == 401


@pytest.mark.parametrize("name", ["X", "X Token", "X-Token:", "1-token", "é-token", "a" * 65])
async def test_names_that_no_header_has(name):
    with pytest.raises(ConfigurationError, match="must be the name of an HTTP header"):
        async with running_gateway(auth_header=name):
            pass
