"""Pages of other origins in a browser: who is let in, and what their browser is told."""

import aiohttp
import pytest

from api.running import TOKEN, running_gateway

LAB = "https://lab.example.com"
OTHER = "https://lab.example.com.evil.example"
ASKED = "Access-Control-Allow-Origin"


async def answer(running, method, path, origin, **headers):
    """The answer to a page of that origin."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, running.url + path, headers={"Origin": origin, **headers}
        ) as response,
    ):
        await response.read()
        return response


async def connects(running, origin):
    """Whether a page of that origin can open a kernel's websocket."""
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


async def test_no_page_of_another_origin_is_let_in_by_default():
    async with running_gateway() as running:
        preflight = await answer(running, "OPTIONS", "/api/kernels", LAB)
        assert ASKED not in preflight.headers
        assert not await connects(running, LAB)


@pytest.mark.parametrize("origin", [LAB, "http://localhost:8000"])
async def test_a_page_that_is_allowed_can_start_and_use_kernels(gateway, origin):
    preflight = await answer(gateway, "OPTIONS", "/api/kernels", origin)
    assert preflight.status == 200
    assert preflight.headers[ASKED] == origin
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert "DELETE" in preflight.headers["Access-Control-Allow-Methods"]
    listed = await answer(gateway, "GET", "/api/kernels", origin, Authorization=f"token {TOKEN}")
    assert (listed.status, listed.headers[ASKED]) == (200, origin)
    assert await connects(gateway, origin)


@pytest.mark.parametrize("origin", [OTHER, "http://lab.example.com", "null"])
async def test_others_are_kept_out(gateway, origin):
    listed = await answer(gateway, "GET", "/api/kernels", origin, Authorization=f"token {TOKEN}")
    assert ASKED not in listed.headers
    assert not await connects(gateway, origin)


async def test_a_page_needs_the_token_and_can_read_that_it_does(gateway):
    refused = await answer(gateway, "GET", "/api/kernels", LAB)
    assert refused.status == 401
    assert refused.headers[ASKED] == LAB


async def test_any_page_where_that_is_wanted(monkeypatch):
    monkeypatch.setenv("GP_ALLOWED_ORIGINS", "*")
    async with running_gateway() as running:
        assert (await answer(running, "OPTIONS", "/api/kernels", OTHER)).headers[ASKED] == "*"
        assert await connects(running, OTHER)
