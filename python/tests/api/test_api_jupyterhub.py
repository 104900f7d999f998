"""A gateway for the users of a real JupyterHub, set up as in examples/jupyterhub."""

import json

import pytest
import yaml

from api.real_jupyterhub import EXAMPLE, USERS, api_url, running_jupyterhub
from api.running import running_gateway
from ci.gateway_client import Gateway, Refused
from fake_clock import Clock
from gateway_provisioners.gateway.identity.methods.jupyterhub import JupyterHubMethod
from message_words import unwrapped

pytestmark = pytest.mark.slow


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setitem(JupyterHubMethod.__init__.__kwdefaults__, "clock", clock)
    return clock


@pytest.fixture
async def hub_and_gateway(tmp_path, clock):
    values = yaml.safe_load((EXAMPLE / "gateway-values.yaml").read_text())
    methods = values["gateway"]["auth"]["methods"]
    folder = tmp_path / "hub"
    folder.mkdir()
    methods["hub"]["apiUrl"] = api_url()
    async with (
        running_gateway(auth_methods=json.dumps(methods)) as gateway,
        running_jupyterhub(folder, gateway.url) as hub,
    ):
        yield hub, gateway


async def refusal(gateway, token):
    async with Gateway(gateway.url, token) as client:
        with pytest.raises(Refused) as refused:
            await client.kernels()
    return refused.value


async def kernels(gateway, token):
    async with Gateway(gateway.url, token) as client:
        return await client.kernels()


async def test_each_user_has_kernels_of_their_own(hub_and_gateway):
    """Each through a server of the hub, with nothing but the example's environment."""
    hub, gateway = hub_and_gateway
    for user in USERS:
        await hub.start_server(user)
    async with (
        hub.browser("alice") as alice,
        hub.browser("bob") as bob,
        alice.kernel("local") as kernel,
    ):
        result = await kernel.execute("import os; print(os.environ['KERNEL_USERNAME'])")
        assert result.text == "alice\n"
        of_alice = kernel.kernel_id
        assert of_alice in await alice.kernels()
        assert await bob.kernels() == {}
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/interrupt")):
            with pytest.raises(Refused) as refused:
                await bob.request(method, f"/api/kernels/{of_alice}{path}")
            assert refused.value.status == 404
        # bob's server could ask the gateway itself, with its token.
        async with Gateway(gateway.url, hub.token_of_server("bob")) as server:
            assert await server.kernels() == {}
            with pytest.raises(Refused) as refused:
                await server.request("GET", f"/api/kernels/{of_alice}")
            assert refused.value.status == 404
        async with bob.kernel("local") as other:
            assert set(await bob.kernels()) == {other.kernel_id}
            owners = {each["owner"] for each in (await gateway.client.kernels()).values()}
            assert owners == {"alice", "bob"}
        assert (await kernel.execute("print(1 + 1)")).text == "2\n"


@pytest.mark.attack(15)
async def test_a_server_cannot_act_as_its_visitors(hub_and_gateway):
    hub, gateway = hub_and_gateway
    await hub.start_server("bob")
    token = await hub.visit("alice", "bob")
    model = await hub.whoami(token)
    assert model["name"] == "alice"
    assert "access:servers!server=bob/" in model["scopes"]
    refused = await refusal(gateway, token)
    assert refused.status == 401
    assert "lacks a scope that the gateway requires" in unwrapped(refused.message)
    assert await kernels(gateway, hub.token_of_server("bob")) == {}


@pytest.mark.attack(15)
async def test_which_tokens_of_the_hub_are_good(hub_and_gateway, clock, caplog):
    hub, gateway = hub_and_gateway
    narrow, _ = await hub.token("alice", "read:users!user=alice")
    refused = await refusal(gateway, narrow)
    assert (refused.status, refused.reason) == (401, "Unauthorized")
    assert "lacks a scope that the gateway requires" in unwrapped(refused.message)
    refused = await refusal(gateway, "the-token-of-the-service-reports")
    assert refused.status == 401
    assert "service 'reports' may not use the gateway" in unwrapped(refused.message)
    refused = await refusal(gateway, "a-token-that-the-hub-does-not-know")
    assert refused.status == 401
    assert "wrong, expired or revoked" in unwrapped(refused.message)

    token, token_id = await hub.token("alice", "access:servers!server=alice/")
    assert await kernels(gateway, token) == {}
    assert (await hub.whoami(token))["groups"] == ["analysts"]
    await hub.revoke("alice", token_id)
    clock.now += 59
    assert await kernels(gateway, token) == {}
    clock.now += 1
    assert "wrong, expired or revoked" in unwrapped((await refusal(gateway, token)).message)

    of_bob, _ = await hub.token("bob")
    assert await kernels(gateway, of_bob) == {}
    await hub.delete_user("bob")
    clock.now += 60
    assert "wrong, expired or revoked" in unwrapped((await refusal(gateway, of_bob)).message)
    for secret in (token, narrow, of_bob, "the-token-of-the-service-reports"):
        assert secret not in caplog.text


async def test_while_the_hub_is_away_known_tokens_go_on(hub_and_gateway, clock):
    hub, gateway = hub_and_gateway
    known, _ = await hub.token("alice")
    new, _ = await hub.token("alice")
    async with Gateway(gateway.url, known) as alice, alice.kernel("local") as kernel:
        await hub.crash()
        clock.now += 60
        assert set(await alice.kernels()) == {kernel.kernel_id}
        assert (await kernel.execute("print(1)")).text == "1\n"
        refused = await refusal(gateway, new)
        assert (refused.status, refused.reason) == (503, "IdentityUnavailable")
        assert unwrapped(refused.message) == (
            "The JupyterHub does not answer, so your credential cannot be checked now. "
            "Try again in a few seconds."
        )
        clock.now += 539
        assert set(await alice.kernels()) == {kernel.kernel_id}
        clock.now += 5  # past the pause after the last attempt
        assert (await refusal(gateway, known)).status == 503
        clock.now -= 60  # for the kernel's end
