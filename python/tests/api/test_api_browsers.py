"""Cross-origin requests: pages that are admitted, and the headers that their browser gets."""

import aiohttp
import pytest

from api.running import TOKEN, running_gateway

LAB = "https://lab.example.com"
OTHER = "https://lab.example.com.evil.example"
ALLOWED = "Access-Control-Allow-Origin"


async def answer(running, method, path, origin, **headers):
    """Return the answer to a page of that origin."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, running.url + path, headers={"Origin": origin, **headers}
        ) as response,
    ):
        await response.read()
        return response


async def connects(running, origin):
    """Return whether a page of that origin can open a kernel's websocket."""
    kernel = await running.client.start("local")
    url = f"{running.url}/api/kernels/{kernel}/channels?token={TOKEN}"
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(url, origin=origin):
                return True
        except aiohttp.WSServerHandshakeError:
            return False


@pytest.fixture
async def gateway():
    async with running_gateway(allowed_origins=[LAB, "http://localhost:8000/"]) as running:
        yield running


async def test_other_origins_are_refused_by_default():
    async with running_gateway() as running:
        preflight = await answer(running, "OPTIONS", "/api/kernels", LAB)
        assert ALLOWED not in preflight.headers
        assert not await connects(running, LAB)


@pytest.mark.parametrize("origin", [LAB, "http://localhost:8000"])
async def test_a_page_of_an_allowed_origin_can_use_kernels(gateway, origin):
    preflight = await answer(gateway, "OPTIONS", "/api/kernels", origin)
    assert preflight.status == 200
    assert preflight.headers[ALLOWED] == origin
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert "DELETE" in preflight.headers["Access-Control-Allow-Methods"]
    listed = await answer(gateway, "GET", "/api/kernels", origin, Authorization=f"token {TOKEN}")
    assert (listed.status, listed.headers[ALLOWED]) == (200, origin)
    assert await connects(gateway, origin)


@pytest.mark.parametrize("origin", [OTHER, "http://lab.example.com", "null"])
async def test_other_origins_are_refused(gateway, origin):
    listed = await answer(gateway, "GET", "/api/kernels", origin, Authorization=f"token {TOKEN}")
    assert ALLOWED not in listed.headers
    assert not await connects(gateway, origin)


async def test_a_page_without_the_token_can_read_the_refusal(gateway):
    refused = await answer(gateway, "GET", "/api/kernels", LAB)
    assert refused.status == 401
    assert refused.headers[ALLOWED] == LAB


async def test_all_origins_can_be_allowed(monkeypatch):
    monkeypatch.setenv("GP_ALLOWED_ORIGINS", "*")
    async with running_gateway() as running:
        assert (await answer(running, "OPTIONS", "/api/kernels", OTHER)).headers[ALLOWED] == "*"
        assert await connects(running, OTHER)
