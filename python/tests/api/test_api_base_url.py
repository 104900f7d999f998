"""A gateway whose routes are below a path."""

import aiohttp
import pytest
from running import TOKEN, running_gateway

from ci.gateway_client import Gateway, Refused
from gateway_provisioners.errors import ConfigurationError
from message_words import unwrapped

HEADERS = {"Authorization": f"token {TOKEN}"}


@pytest.fixture
async def gateway(jupyter_dirs):
    (jupyter_dirs / "local" / "logo-svg.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg"/>'
    )
    async with running_gateway(base_url="tools/ju.pyter/") as gateway:
        assert gateway.app.base_url == "/tools/ju.pyter"
        yield gateway


async def test_everything_for_clients_is_below_the_base_url(gateway):
    async with Gateway(f"{gateway.url}/tools/ju.pyter", TOKEN) as client:
        async with client.kernel("local") as kernel:
            assert (await kernel.execute("print(6 * 7)")).text == "42\n"
            assert await client.kernels()
        specs = await client.request("GET", "/api/kernelspecs")
        [logo] = specs["kernelspecs"]["local"]["resources"].values()
        assert logo == "/tools/ju.pyter/kernelspecs/local/logo-svg.svg"
        assert (await client.request("GET", "/readyz"))["ok"]


async def test_locations_are_below_the_base_url(gateway):
    kernel = {"name": "local"}
    session = {"path": "a.ipynb", "type": "notebook", "kernel": kernel}
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        for path, body in (("kernels", kernel), ("sessions", session)):
            url = f"{gateway.url}/tools/ju.pyter/api/{path}"
            async with http.post(url, json=body) as response:
                assert response.status == 201
                location = response.headers["Location"]
                assert location == f"/tools/ju.pyter/api/{path}/{(await response.json())['id']}"
            async with http.get(gateway.url + location) as response:
                assert response.status == 200


async def test_load_balancers_find_healthz_below_the_base_url(gateway):
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{gateway.url}/tools/ju.pyter/healthz") as response:
            assert response.status == 200
        async with http.get(f"{gateway.url}/tools/ju.pyter/metrics") as response:
            assert f"port {gateway.app.health_port}" in (await response.json())["message"]


async def test_probes_stay_at_the_root_of_their_port(gateway):
    for path in ("/healthz", "/readyz", "/metrics"):
        async with (
            aiohttp.ClientSession() as http,
            http.get(gateway.probes.url + path) as response,
        ):
            assert response.status == 200


@pytest.mark.parametrize(
    "path", ["/api/kernelspecs", "/", "/tools/juxpyter/api", "/tools/ju.pyterx"]
)
async def test_a_path_that_is_not_below_is_refused_with_the_base_url(gateway, path):
    with pytest.raises(Refused) as refusal:
        await gateway.client.request("GET", path)
    assert refusal.value.status == 404
    assert (
        unwrapped(refusal.value.message) == "The paths of this gateway begin with /tools/ju.pyter."
    )


async def test_the_base_url_is_for_clients_with_a_credential_only(gateway):
    async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/api") as response:
        assert response.status == 401
        assert "ju.pyter" not in await response.text()


@pytest.mark.parametrize("text", ["", "/", "//"])
async def test_a_base_url_may_be_the_root(text):
    async with running_gateway(base_url=text) as gateway:
        assert gateway.app.base_url == "/"
        assert await gateway.client.kernels() == {}


@pytest.mark.parametrize(
    "text", ["https://a.example/b", "/a//b", "/a/../b", "/a b", "/(a|b)", "/a?b"]
)
async def test_a_base_url_that_is_not_a_path_is_refused(monkeypatch, text):
    monkeypatch.setenv("KG_BASE_URL", text)
    with pytest.raises(ConfigurationError, match=r"KG_BASE_URL=.*/team-a"):
        async with running_gateway():
            pass
