"""Three gateways of one release: each of them serves all kernels, and together they are as one."""

import asyncio
import contextlib
import json

import pytest
import pytest_asyncio

from ci.gateway_client import Refused
from timeouts import eventually

REPLICAS = 3


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def three(chart):
    await chart.upgrade({"gateway": {"replicas": REPLICAS}})


async def listed(gateway, kernel_id):
    await eventually(lambda: _is_listed(gateway, kernel_id))


async def _is_listed(gateway, kernel_id):
    return kernel_id in await gateway.kernels()


async def unlisted(gateway, kernel_id):
    async def is_gone():
        return not await _is_listed(gateway, kernel_id)

    await eventually(is_gone)


async def test_any_gateway_serves_any_kernel(chart, namespace):
    async with chart.gateways() as [first, second, third]:
        kernel_id = await first.start(KERNEL_USERNAME="alice")
        # At once: it need not have been listed there before.
        async with second.channels(kernel_id) as kernel, third.channels(kernel_id) as other:
            await kernel.execute("x = 1")
            assert (await other.execute("print(x)")).text == "1\n"
            for gateway in (first, second, third):
                assert (await gateway.kernels())[kernel_id]["name"] == "python3"
            result = await kernel.execute(
                "print(1)\nwhile True: pass", on_busy=lambda: third.interrupt(kernel_id)
            )
            assert result.error == "KeyboardInterrupt"
        await third.delete(kernel_id)
        for gateway in (first, second):
            await unlisted(gateway, kernel_id)
        with pytest.raises(Refused) as refusal:
            await first.request("GET", f"/api/kernels/{kernel_id}")
        assert refusal.value.status == 404
    await namespace.wait_gone(kernel_id)


async def test_clients_follow_a_restart_at_another_gateway(chart, namespace):
    async with chart.gateways() as [first, second, third]:
        kernel_id = await first.start(KERNEL_USERNAME="alice")
        async with second.channels(kernel_id) as kernel:
            await kernel.execute("x = 1")
            await third.restart(kernel_id)
            # What is said before the gateway has followed waits for it.
            assert (await kernel.execute("x")).error == "NameError"
            environment = await kernel.execute("import os; print(os.environ['KERNEL_USERNAME'])")
            assert environment.text == "alice\n"
        assert len(await namespace.names("pods", kernel_id)) == 1
        await second.delete(kernel_id)
    await namespace.wait_gone(kernel_id)


async def test_two_restarts_at_once_make_one_new_pod(chart, namespace):
    async with chart.gateways() as gateways:
        kernel_id = await gateways[0].start()
        for gateway in gateways:
            await listed(gateway, kernel_id)
        outcomes = await asyncio.gather(
            *(gateway.restart(kernel_id) for gateway in gateways), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        assert [each.reason for each in refused] == ["KernelBusy"] * (REPLICAS - 1)
        [pod] = await namespace.names("pods", kernel_id)
        assert pod.endswith("-2")
        await gateways[1].delete(kernel_id)
    await namespace.wait_gone(kernel_id)


async def test_a_dead_kernel_is_restarted_once(chart, namespace):
    async with chart.gateways() as gateways:
        kernel_id = await gateways[0].start()
        for gateway in gateways:
            await listed(gateway, kernel_id)
        [pod] = await namespace.names("pods", kernel_id)
        await namespace.run("delete", "pod", pod, "--wait=false")

        async def is_replaced():
            pods = await namespace.objects("pods", kernel_id)
            return [
                each["metadata"]["name"]
                for each in pods
                if each["metadata"]["name"] != pod
                and each["metadata"]["annotations"]["gateway-provisioners/state"] == "running"
            ]

        await eventually(is_replaced)
        for gateway in gateways:

            async def answers(gateway=gateway):
                async with gateway.channels(kernel_id) as kernel:
                    return (await kernel.execute("print('alive')")).text == "alive\n"

            await eventually(answers)
        [successor] = await namespace.names("pods", kernel_id)
        assert successor.endswith("-2")
        await gateways[2].delete(kernel_id)
    await namespace.wait_gone(kernel_id)


async def test_limits_hold_for_all_gateways_together(chart, namespace):
    await chart.upgrade({"gateway": {"replicas": REPLICAS, "maxKernelsPerUser": 2}})
    async with chart.gateways() as gateways:
        starts = [gateway.start(KERNEL_USERNAME="bob") for gateway in [*gateways, *gateways]]
        outcomes = await asyncio.gather(*starts, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        assert [each.reason for each in refused] == ["TooManyKernels"] * 4
        assert "bob" in refused[0].message
        others = await gateways[0].start(KERNEL_USERNAME="eve")
        for kernel_id in [others, *(each for each in outcomes if isinstance(each, str))]:
            await gateways[1].delete(kernel_id)
    await namespace.wait_no_kernels()


async def test_a_connected_client_keeps_its_kernel_from_being_culled(chart, namespace):
    cull = {"idleTimeout": 10, "interval": 1}  # and a client may be slow
    await chart.upgrade({"gateway": {"replicas": REPLICAS, "cull": cull}})
    async with chart.gateways() as [first, second, third]:
        used, unused = await first.start(), await second.start()
        async with contextlib.AsyncExitStack() as stack:
            kernel = await stack.enter_async_context(third.channels(used))
            await kernel.execute("x = 1")
            await unlisted(first, unused)
            assert used in await second.kernels()
            assert (await kernel.execute("print(x)")).text == "1\n"
        await unlisted(third, used)
    await namespace.wait_no_kernels()


async def test_one_gateway_has_the_duties_and_leaves_them_when_it_ends(chart, namespace):
    await chart.upgrade({"gateway": {"replicas": REPLICAS}})
    await chart.wait_rolled_out()

    async def holder():
        leases = json.loads(await namespace.run("get", "leases", "-o", "json"))["items"]
        [lease] = [each for each in leases if each["metadata"]["name"].startswith(chart.fullname)]
        return lease["spec"].get("holderIdentity", "")

    async def gateway_of(process):
        for pod in await chart.gateway_pods():
            if (
                pod["metadata"].get("annotations", {}).get("gateway-provisioners/process")
                == process
            ):
                return pod["metadata"]["name"]
        return None

    async def has_a_living_holder():
        return await gateway_of(await holder())

    leader = await eventually(has_a_living_holder)
    # Killed without a word, it is missed at once all the same: its pod is gone.
    await namespace.run("delete", "pod", leader, "--force", "--grace-period=0")

    async def has_another_holder():
        return await has_a_living_holder() not in (None, leader)

    await eventually(has_another_holder)
    await chart.wait_rolled_out()
