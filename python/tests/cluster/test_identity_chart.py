"""From the shared token to auth methods: people with tokens, and ServiceAccounts of the cluster.

test_identities.py asks what such users may do to each other's kernels.
"""

import contextlib
import json
import uuid

import pytest
import pytest_asyncio

from access_matrix import KERNEL, Route, ask
from ci.gateway_client import Gateway, Refused

AUDIENCE = "gateway.example.com"
TOKENS = {name: f"{name}-{uuid.uuid4().hex}" for name in ("alice", "bob")}
GET = Route("GET", f"/api/kernels/{KERNEL}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(chart):
    """The shared token, and a kernel that was started with it before there were methods."""
    async with chart.gateway() as gateway:
        return gateway.token, await gateway.start(KERNEL_USERNAME="alice")


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def methods(shared, chart, kubectl, namespace):
    literals = [f"--from-literal={name}={token}" for name, token in TOKENS.items()]
    await namespace.run("create", "secret", "generic", "people", *literals)
    discovery = json.loads(await kubectl("get", "--raw", "/.well-known/openid-configuration"))
    cluster = {"clusterKeys": True, "issuer": discovery["issuer"], "audience": AUDIENCE}
    methods = {
        "people": {"type": "token", "existingSecret": "people"},
        "cluster": {"type": "jwt", **cluster},
    }
    await chart.upgrade({"gateway": {"replicas": 2, "auth": {"methods": methods}}})


async def account_token(namespace, audience=AUDIENCE):
    """Return a token of a ServiceAccount, as Kubernetes signs it."""
    return (await namespace.run("create", "token", "default", f"--audience={audience}")).strip()


@contextlib.asynccontextmanager
async def clients(chart, *tokens):
    """For each token, a client of each of the two gateways."""
    async with chart.gateways() as gateways, contextlib.AsyncExitStack() as stack:
        yield [
            [await stack.enter_async_context(Gateway(each.url, token)) for each in gateways]
            for token in tokens
        ]


async def test_the_shared_token_becomes_the_administrators(chart, shared, namespace):
    token, kernel_id = shared
    assert await chart.token() == token
    async with clients(chart, token, TOKENS["alice"]) as [admins, alices]:
        for admin, alice in zip(admins, alices, strict=True):
            async with admin.channels(kernel_id) as kernel:
                assert (await kernel.execute("print(1)")).text == "1\n"
            # It was not alice who started it, but a client that used her name.
            assert await alice.kernels() == {}
        await admins[0].delete(kernel_id)
    await namespace.wait_gone(kernel_id)


@pytest.mark.parametrize("method", ["people", "cluster"])
async def test_a_method_names_the_user_at_both_gateways(chart, namespace, method):
    token, name = TOKENS["alice"], "alice"
    if method == "cluster":
        token = await account_token(namespace)
        name = f"system:serviceaccount:{namespace.name}:default"
    async with clients(chart, token, TOKENS["bob"]) as [[first, second], bobs]:
        kernel_id = await first.start(KERNEL_USERNAME="mallory")
        async with second.channels(kernel_id) as kernel:
            shown = await kernel.execute("import os; print(os.environ['KERNEL_USERNAME'])")
        assert shown.text == f"{name}\n"
        for bob in bobs:
            assert await bob.kernels() == {}
            assert (await ask(bob.url, bob.token, GET, kernel=kernel_id)).status == 404
        await second.delete(kernel_id)
    await namespace.wait_gone(kernel_id)


async def test_tokens_for_others_and_forged_ones_are_refused(chart, namespace):
    head, payload, signature = (await account_token(namespace)).split(".")
    forged = f"{head}.{payload}.{signature[::-1]}"
    foreign = await account_token(namespace, "another.example.com")
    async with clients(chart, "", "guessed-guessed-guessed", forged, foreign) as refused:
        for client in (each for gateways in refused for each in gateways):
            with pytest.raises(Refused) as refusal:
                await client.kernels()
            assert refusal.value.status == 401
            assert not client.token or client.token not in str(refusal.value)


async def test_helm_test_works_with_methods(chart):
    assert await chart.test() == "Succeeded"


async def test_no_object_and_no_log_shows_a_token(chart, shared, namespace):
    shown = await namespace.run("get", "pods,deployments,replicasets,configmaps", "-o", "json")
    assert "/run/auth/people" in shown
    for pod in await chart.gateway_pods():
        shown += await namespace.run("logs", pod["metadata"]["name"])
    assert [token for token in (*TOKENS.values(), shared[0]) if token in shown] == []
