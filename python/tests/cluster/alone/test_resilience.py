"""Failures around a gateway: of its API server, its own process, its kernels' pods."""

import asyncio

import aiohttp
import pytest
import pytest_asyncio
from chart import SLOW_NODE_VALUES
from host_network import CLUSTER_PROGRAM, local_cluster

from ci.commands import run
from ci.gateway_client import Gateway, Refused
from timeouts import eventually

OUTAGE_SECONDS = 60


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def tolerates_slow_nodes(chart):
    await chart.upgrade({"gateway": SLOW_NODE_VALUES})


async def uid_of_gateway(chart):
    return [pod["metadata"]["uid"] for pod in await chart.gateway_pods()]


async def test_a_kernel_is_added_and_removed_without_a_restart(gateway, chart, namespace):
    async def is_listed():
        return "extra" in (await gateway.request("GET", "/api/kernelspecs"))["kernelspecs"]

    async def is_not_listed():
        return not await is_listed()

    before = await uid_of_gateway(chart)
    extra = {"image": chart.image, "displayName": "Extra"}
    await chart.upgrade({"gateway": SLOW_NODE_VALUES, "kernels": {"extra": extra}})
    await eventually(is_listed)
    kernel_id = await gateway.start("extra")
    async with gateway.channels(kernel_id) as kernel:
        await kernel.execute("x = 1")
        extra["enabled"] = False
        await chart.upgrade({"gateway": SLOW_NODE_VALUES, "kernels": {"extra": extra}})
        await eventually(is_not_listed)
        assert (await kernel.execute("print(x)")).text == "1\n"
    with pytest.raises(Refused) as refusal:
        await gateway.start("extra")
    assert refusal.value.status == 404
    await gateway.delete(kernel_id)
    assert await uid_of_gateway(chart) == before


async def test_an_api_server_that_is_away_costs_no_kernel(cluster, chart, gateway, namespace):
    local_cluster(cluster)  # the test breaks it: only our own may be broken
    quick = {"image": chart.image, "launchTimeout": 10}
    await chart.upgrade({"gateway": SLOW_NODE_VALUES, "kernels": {"quick": quick}})
    # The pod itself: its Service leads nowhere while a node counts as lost, which it does for some
    # moments when the API server is back before its kubelet.
    [pod] = await chart.gateway_pods()
    url = f"http://{pod['status']['podIP']}:8888"
    async with Gateway(url, await chart.token()) as direct, chart.probes() as probes:
        await survive_an_outage(direct, namespace, probes)


async def survive_an_outage(direct, namespace, probes):
    async def is_ready():
        try:
            return await probes.request("GET", "/readyz")
        except (Refused, aiohttp.ClientError):
            return False

    async with direct.kernel() as kernel:
        await kernel.execute("x = 1")
        [pod] = await namespace.names("pods", kernel.kernel_id)
        await asyncio.to_thread(run, CLUSTER_PROGRAM, "stop", "kube-apiserver")
        try:
            assert (await kernel.execute("print(x)")).text == "1\n"
            start = asyncio.create_task(direct.start(KERNEL_LAUNCH_TIMEOUT="300"))
            with pytest.raises(Refused) as refusal:
                await direct.start("quick")
            assert refusal.value.reason == "ClusterUnavailable"
            # Long enough for the restarter and the watch to look, again and again.
            await asyncio.sleep(OUTAGE_SECONDS)
            assert kernel.kernel_id in await direct.kernels()
            with pytest.raises(Refused):
                await probes.request("GET", "/readyz")
            with pytest.raises(Refused) as unready:
                await direct.request("GET", "/readyz")
            assert "watch" in str(unready.value)
        finally:
            await asyncio.to_thread(run, CLUSTER_PROGRAM, "start", "kube-apiserver")
        assert (await kernel.execute("print(x + 1)")).text == "2\n"

        await eventually(is_ready)
        # The start that began in the outage went on.
        await direct.delete(await start)
        # The scheduler and the kubelet take their time to find their API server again.
        async with direct.kernel() as another:
            assert (await another.execute("print(3)")).text == "3\n"
        assert await namespace.names("pods", kernel.kernel_id) == [pod]
        # Anew: this client answers no pings while it waits for something else.
        async with direct.channels(kernel.kernel_id) as again:
            assert (await again.execute("print(x + 2)")).text == "3\n"


async def test_kernels_survive_their_gateway(chart, namespace):
    async with chart.gateway() as first:
        kernel_id = await first.start(KERNEL_USERNAME="alice")
        async with first.channels(kernel_id) as kernel:
            await kernel.execute("x = 1")
    await namespace.run("rollout", "restart", f"deployment/{chart.fullname}")
    await namespace.run("rollout", "status", f"deployment/{chart.fullname}", "--timeout=120s")
    async with chart.gateway() as second:
        assert kernel_id in await second.kernels()
        async with second.channels(kernel_id) as kernel:
            assert (await kernel.execute("print(x)")).text == "1\n"
            result = await kernel.execute(
                "print(1)\nwhile True: pass", on_busy=lambda: second.interrupt(kernel_id)
            )
            assert result.error == "KeyboardInterrupt"
        await second.restart(kernel_id)
        async with second.channels(kernel_id) as kernel:
            assert (await kernel.execute("x")).error == "NameError"
            environment = await kernel.execute("import os; print(os.environ['KERNEL_USERNAME'])")
            assert environment.text == "alice\n"
        await second.delete(kernel_id)
    await namespace.wait_gone(kernel_id)


async def test_a_pod_deleted_behind_the_gateways_back_is_replaced(chart, namespace):
    async with chart.gateway() as gateway:
        kernel_id = await gateway.start()
        [pod] = await namespace.names("pods", kernel_id)
        await namespace.run("delete", "pod", pod, "--wait=false")

        async def is_replaced():
            return [name for name in await namespace.names("pods", kernel_id) if name != pod]

        await eventually(is_replaced)

        async def answers():
            async with gateway.channels(kernel_id) as kernel:
                return (await kernel.execute("print('alive')")).text == "alive\n"

        await eventually(answers)
        await gateway.delete(kernel_id)
    await namespace.wait_gone(kernel_id)


async def test_idle_kernels_are_culled(chart, namespace):
    cull = {"idleTimeout": 2, "interval": 1, "connected": True}
    await chart.upgrade({"gateway": {**SLOW_NODE_VALUES, "cull": cull}})
    async with chart.gateway() as gateway:
        kernel_id = await gateway.start()

        async def is_culled():
            return kernel_id not in await gateway.kernels()

        await eventually(is_culled)
    await namespace.wait_no_kernels()


async def test_kernels_end_with_their_gateway_where_the_administrator_says_so(chart, namespace):
    await chart.upgrade({"gateway": {"shutdownKernelsOnExit": True}})
    async with chart.gateway() as gateway:
        await gateway.start()
    await namespace.run("rollout", "restart", f"deployment/{chart.fullname}")
    await namespace.wait_no_kernels()
    async with chart.gateway() as gateway:
        assert await gateway.kernels() == {}
