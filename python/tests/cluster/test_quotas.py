"""Quotas of users and groups, at two gateways of one release."""

import asyncio
import contextlib
import json

import pytest
import pytest_asyncio

from ci.gateway_client import Gateway, Refused
from message_words import unwrapped
from timeouts import eventually

TOKENS = {name: f"the-token-of-{name}-{'0' * 16}" for name in ("alice", "bob", "carol")}
VALUES = {
    "gateway": {
        "replicas": 2,
        "auth": {"methods": {"people": {"type": "token", "existingSecret": "people"}}},
        "quotas": {
            "eachUser": {"cpus": 1, "memory": "2Gi"},
            "users": {"carol": {"cpus": "unlimited"}},
            "groups": {"team": {"cpus": "1500m"}},
        },
    },
    "userGroups": {"team": list(TOKENS)},
}
# Small requests, so that they fit on any node.
ASKED = {
    "KERNEL_CPUS": "10m",
    "KERNEL_CPUS_LIMIT": "600m",
    "KERNEL_MEMORY": "64Mi",
    "KERNEL_MEMORY_LIMIT": "512Mi",
}
LIMIT_RANGE = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "defaults"},
    "spec": {
        "limits": [
            {
                "type": "Container",
                "default": {"cpu": "600m", "memory": "512Mi"},
                "defaultRequest": {"cpu": "10m", "memory": "64Mi"},
            }
        ]
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def urls(chart, namespace):
    secret = [f"--from-literal={name}={token}" for name, token in TOKENS.items()]
    await namespace.run("create", "secret", "generic", "people", *secret)
    await chart.upgrade(VALUES)
    async with chart.gateways() as gateways:
        yield [gateway.url for gateway in gateways]


@pytest.fixture
def client(urls):
    """Return a function that returns a client of one of the gateways, for a user."""
    return lambda user, number=0: Gateway(urls[number], TOKENS[user])


async def refusal(client, **asked):
    """Return the error of a start that a quota does not allow."""
    with pytest.raises(Refused) as refused:
        await client.start(**asked)
    assert refused.value.status == 403
    return refused.value


async def started(client, **asked):
    """Start a kernel once there is room; the gateway's watch reports that a moment later."""

    async def attempt():
        with contextlib.suppress(Refused):
            return await client.start(**asked)

    return await eventually(attempt)


async def test_what_a_user_may_use_holds_for_all_gateways_together(client, namespace):
    async with client("alice") as alice, client("alice", 1) as elsewhere, client("bob") as bob:
        starts = [each.start(**ASKED) for each in (alice, elsewhere, alice, elsewhere)]
        outcomes = await asyncio.gather(*starts, return_exceptions=True)
        [kernel_id] = [outcome for outcome in outcomes if isinstance(outcome, str)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        assert [each.reason for each in refused] == ["TooManyResources"] * 3

        expected = (
            "Too many CPUs: user 'alice' may use at most 1 CPU at once; 1 kernel uses 0.6 CPUs, and this "
            "one needs 0.6 CPUs. Shut down kernels of yours that use 0.2 CPUs or more, or ask for at most "
            f"0.4 CPUs with KERNEL_CPUS_LIMIT. Yours: 'python3' ({kernel_id}): 0.6 CPUs."
        )

        async def is_explained():  # once the pods of the refused ones are gone
            return unwrapped((await refusal(elsewhere, **ASKED)).message) == expected

        await eventually(is_explained)
        small = {**ASKED, "KERNEL_CPUS_LIMIT": "100m", "KERNEL_MEMORY_LIMIT": "1800Mi"}
        message = unwrapped((await refusal(alice, **small)).message)
        assert message.startswith(
            "Too much memory: user 'alice' may use at most 2Gi of memory at once; 1 kernel uses"
        )
        bobs = await bob.start(**ASKED)

        await alice.restart(kernel_id)
        await elsewhere.delete(kernel_id)
        again = await started(alice, **ASKED)
        await asyncio.gather(alice.delete(again), bob.delete(bobs))
    await namespace.wait_no_kernels()


@pytest.mark.attack(15)
async def test_a_groups_quota_shows_no_kernels_of_other_members(client, namespace):
    async with client("alice") as alice, client("bob", 1) as bob, client("carol") as carol:
        others = await asyncio.gather(alice.start(**ASKED), bob.start(**ASKED))
        small = await carol.start(**{**ASKED, "KERNEL_CPUS_LIMIT": "100m"})
        refused = await refusal(carol, **ASKED)
        assert refused.reason == "TooManyResources"
        assert unwrapped(refused.message) == (
            "Too many CPUs: group 'team' may use at most 1.5 CPUs at once; 3 kernels use 1.3 CPUs, and this "
            "one needs 0.6 CPUs. Shut down your kernels and wait until others have shut down theirs, or "
            f"ask for at most 0.2 CPUs with KERNEL_CPUS_LIMIT. Yours: 'python3' ({small}): 0.1 CPUs."
        )
        await alice.delete(others[0])
        another = await started(carol, **ASKED)
        await asyncio.gather(bob.delete(others[1]), carol.delete(small), carol.delete(another))
    await namespace.wait_no_kernels()


async def test_a_kernel_needs_limits_that_a_limit_range_may_give_it(client, namespace):
    async with client("alice") as alice:
        refused = await refusal(alice)
        assert refused.reason == "PolicyViolation"
        assert unwrapped(refused.message) == (
            "This kernel has neither a limit nor a request for CPUs, and user 'alice' has a quota of CPUs. "
            "Set KERNEL_CPUS_LIMIT, or ask the administrator to set resources for each of the kernel's "
            "containers."
        )
        await namespace.wait_no_kernels()
        await namespace.run("apply", "-f", "-", stdin=json.dumps(LIMIT_RANGE))
        kernel_id = await started(alice)
        assert "1 kernel uses 0.6 CPUs" in unwrapped((await refusal(alice)).message)
        await alice.delete(kernel_id)
        await namespace.run("delete", "limitrange", "defaults")
    await namespace.wait_no_kernels()
