"""Users who do not trust each other, at two gateways of one release."""

import asyncio
import json
from functools import partial

import pytest
import pytest_asyncio
from chart import GATEWAY_SELECTOR

from access_matrix import ENDING, KERNEL, ROUTES, SESSION, Route, ask
from ci.gateway_client import Gateway, Refused
from gateway_provisioners.model.ownership import Access
from timeouts import eventually

TOKENS = {name: f"the-token-of-{name}-{'0' * 16}" for name in ("alice", "bob", "carol", "dave")}
ACCESS = {
    "alice": Access.OWNER,
    "bob": Access.NONE,
    "carol": Access.READ,
    "dave": Access.FULL,  # by a group
    "": Access.OWNER,  # the shared token
}
SHARE = {"share": {"users": {"carol": "read"}, "groups": {"team": "full"}}}
GET = Route("GET", f"/api/kernels/{KERNEL}")
VALUES = {
    "gateway": {
        "replicas": 2,
        "auth": {"methods": {"people": {"type": "token", "existingSecret": "people"}}},
    },
    "userGroups": {"team": ["dave"]},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def two(chart, namespace):
    secret = [f"--from-literal={name}={token}" for name, token in TOKENS.items()]
    await namespace.run("create", "secret", "generic", "people", *secret)
    await chart.upgrade(VALUES)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def urls(chart, two):
    async with chart.gateways() as gateways:
        yield [gateway.url for gateway in gateways]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tokens(chart):
    return {**TOKENS, "": await chart.token()}


@pytest.fixture
def client(urls, tokens):
    """Return a function that returns a client of one of the gateways, for a user."""
    return lambda user, number=0: Gateway(urls[number], tokens[user])


async def answers(url, token, route, kernel_id):
    return (await ask(url, token, route, kernel=kernel_id)).status < 400


async def status_of(url, token, method, kernel_id):
    return (await ask(url, token, Route(method, f"/api/kernels/{kernel_id}"))).status


@pytest.mark.attack(15)
async def test_each_route_needs_its_access_at_each_gateway(client, urls, tokens, namespace):
    async with client("alice") as alice:
        kernel_id = await alice.start()
        await alice.request("PATCH", f"/api/kernels/{kernel_id}", SHARE)
        for url in urls:
            for user in ("carol", "dave"):
                await eventually(partial(answers, url, tokens[user], GET, kernel_id))
        for route in ROUTES:
            if route.needs is None or SESSION in route.path:  # each gateway has sessions of its own
                continue
            for user, access in ACCESS.items():
                for url in urls:
                    if access < route.needs:
                        answer = await ask(url, tokens[user], route, kernel=kernel_id)
                        assert answer.status == (403 if access else 404), (user, route)
                    elif route not in ENDING:
                        # A gateway follows a restart at another one a moment later.
                        await eventually(partial(answers, url, tokens[user], route, kernel_id))
        assert set(await alice.kernels()) == {kernel_id}
        await alice.delete(kernel_id)
    await namespace.wait_gone(kernel_id)


@pytest.mark.attack(15)
async def test_a_kernel_is_its_users_from_the_first_moment(client, urls, tokens, namespace):
    """Another gateway, which has not seen the kernel yet, looks for it, and shows it to its user alone."""
    async with client("alice") as alice, client("bob", 1) as bob:
        kernel_id = await alice.start()
        assert await status_of(urls[1], tokens["bob"], "GET", kernel_id) == 404
        assert await status_of(urls[1], tokens["bob"], "DELETE", kernel_id) == 404
        assert await bob.kernels() == {}
        assert await status_of(urls[1], tokens["alice"], "GET", kernel_id) == 200
        with pytest.raises(Refused, match="404"):
            await bob.request("POST", "/api/kernels", {"name": "python3", "kernel_id": kernel_id})
        await alice.delete(kernel_id)
    await namespace.wait_gone(kernel_id)


async def test_a_share_holds_at_all_gateways_and_over_a_restart(client, urls, tokens, namespace):
    async with client("alice") as alice, client("alice", 1) as elsewhere, client("dave", 1) as dave:
        kernel_id = await alice.start()
        await alice.request("PATCH", f"/api/kernels/{kernel_id}", SHARE)

        async def is_shared():
            return await status_of(urls[1], tokens["dave"], "GET", kernel_id) == 200

        await eventually(is_shared)
        async with dave.channels(kernel_id) as channels:
            assert (await channels.execute("print(1)")).text == "1\n"
        await elsewhere.restart(kernel_id)
        assert await is_shared()
        [pod] = await namespace.objects("pods", kernel_id)
        annotations = pod["metadata"]["annotations"]
        assert annotations["gateway-provisioners/owner"] == "alice"
        assert json.loads(annotations["gateway-provisioners/shared-with-groups"]) == {
            "team": "full"
        }

        async with dave.channels(kernel_id) as channels:
            await alice.request("PATCH", f"/api/kernels/{kernel_id}", {"share": None})
            with pytest.raises(ConnectionError, match="1008"):
                await channels.receive()
        for url in urls:
            assert await status_of(url, tokens["dave"], "GET", kernel_id) == 404
        await alice.delete(kernel_id)
    await namespace.wait_gone(kernel_id)


async def test_a_removed_user_is_refused_without_a_restart(client, urls, tokens, namespace):
    async with client("carol") as carol:
        assert await carol.kernels() == {}
        await namespace.run("patch", "secret", "people", "--patch", '{"data": {"carol": null}}')
        # A kubelet looks at the volumes of a pod once in a minute or two, and when the pod changes.
        await namespace.run("annotate", "pods", "--selector", GATEWAY_SELECTOR, "changed=people")

        async def is_refused():
            route = Route("GET", "/api/kernels")
            return [(await ask(url, tokens["carol"], route)).status for url in urls] == [401, 401]

        await eventually(is_refused)


@pytest.mark.attack(15)
async def test_the_next_gateways_know_the_owners(chart, client, namespace, tokens):
    """The last test of this module: it ends the gateways that its clients use."""
    async with client("alice") as alice, client("") as admin:
        kernel_id = await alice.start()
        without_owner = await admin.start(KERNEL_USERNAME="alice")
    await namespace.run("rollout", "restart", f"deployment/{chart.fullname}")
    await chart.wait_rolled_out()
    async with chart.gateway() as gateway, Gateway(gateway.url, tokens["alice"]) as alice:
        assert set(await alice.kernels()) == {kernel_id}
        async with Gateway(gateway.url, tokens["bob"]) as bob:
            assert await bob.kernels() == {}
        listed = await gateway.kernels()
        assert listed[kernel_id]["owner"] == "alice"
        assert "owner" not in listed[without_owner]
        await asyncio.gather(*(gateway.delete(each) for each in (kernel_id, without_owner)))
    for each in (kernel_id, without_owner):
        await namespace.wait_gone(each)
