"""Faults around the gateways of a release, one by one and at random: its kernels go on, and are served.

GP_FAULTS is the number of random faults, GP_FAULTS_SEED chooses them; `make soak` has 100, each time others.
"""

import asyncio
import contextlib
import logging
import os
import random
from functools import partial

import aiohttp
import pytest
import pytest_asyncio
from chart import SLOW_NODE_VALUES
from host_network import CLUSTER_PROGRAM, local_cluster

from ci.commands import run
from ci.gateway_client import Gateway, Refused
from timeouts import eventually

FAULTS = int(os.environ.get("GP_FAULTS", "8"))
KERNELS = 3
REPLICAS = 2

log = logging.getLogger(__name__)


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def replicas(cluster, chart):
    local_cluster(cluster)  # the test breaks it: only our own may be broken
    await chart.upgrade({"gateway": {"replicas": REPLICAS, **SLOW_NODE_VALUES}})
    await chart.wait_rolled_out()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(chart):
    """A client of the Service, which leads to any of the gateways."""
    async with Gateway(await chart.service_url(), await chart.token()) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def kernels(service, chart, namespace):
    """Some kernels with a variable in each; whatever happens, they are there afterwards."""
    ids = []
    try:
        for number in range(KERNELS):
            ids.append(await eventually(partial(started, service)))
            await executed(service, ids[-1], f"x = {number}")
        yield ids
        await chart.wait_rolled_out()
        for number, kernel_id in enumerate(ids):
            assert await variable(service, kernel_id) == str(number)
        assert len(await namespace.names("pods")) == KERNELS
        assert len(await namespace.names("secrets")) == KERNELS
        for pod in await chart.gateway_pods():
            # Straight there: a kubelet that has just started does not know its pods yet.
            async with Gateway(f"http://{pod['status']['podIP']}:8888", service.token) as gateway:
                await eventually(partial(is_ready, gateway))
                assert sorted(await gateway.kernels()) == sorted(ids)
    finally:
        for kernel_id in ids:
            await eventually(partial(is_deleted, service, kernel_id))
        await namespace.wait_no_kernels()


async def started(service):
    """The id of a new kernel; None where no gateway could be asked, and so none has been started."""
    with contextlib.suppress(aiohttp.ClientConnectorError):
        return await service.start()


async def is_ready(gateway):
    with contextlib.suppress(Refused, aiohttp.ClientError):
        url = gateway.url.replace(":8888", ":8889")
        async with Gateway(url, "") as probes:
            return await probes.request("GET", "/readyz")


async def is_deleted(service, kernel_id):
    try:
        await service.delete(kernel_id)
    except aiohttp.ClientError:  # the Service leads nowhere while a node counts as lost
        return False
    except Refused as refusal:  # gone already, and the answer was lost; or the gateway is ending
        return refusal.status == 404
    return True


async def executed(service, kernel_id, code):
    """The result of code in a kernel, run by whichever gateway answers first; it may be run twice."""

    async def answers():
        with contextlib.suppress(Refused, aiohttp.ClientError, ConnectionError):
            async with service.channels(kernel_id) as kernel:
                return await kernel.execute(code)

    return await eventually(answers)


async def variable(service, kernel_id):
    return (await executed(service, kernel_id, "print(x)")).text.strip()


async def component(verb, *arguments):
    await asyncio.to_thread(run, CLUSTER_PROGRAM, verb, *arguments)


async def restarted(name, *, force=False):
    await component("stop", name, *(["--force"] if force else []))
    await component("start", name)


class Faults:
    """Faults of a release; each method returns when the fault has happened."""

    def __init__(self, chart, namespace):
        self._chart = chart
        self._namespace = namespace

    async def _delete_a_gateway(self, *how):
        await self._chart.wait_rolled_out()
        # There may be none yet where the controllers have just come back.
        pod = random.choice(await eventually(self._chart.gateway_pods))
        await self._namespace.run("delete", "pod", pod["metadata"]["name"], "--wait=false", *how)

    async def a_gateway_is_asked_to_end(self):
        await self._delete_a_gateway()

    async def a_gateway_is_killed(self):
        await self._delete_a_gateway("--force", "--grace-period=0")

    async def all_gateways_are_replaced(self):
        await self._chart.wait_rolled_out()
        await self._namespace.run("rollout", "restart", f"deployment/{self._chart.fullname}")

    async def the_api_server_is_killed(self):
        await restarted("kube-apiserver", force=True)

    async def the_api_server_is_restarted(self):
        await restarted("kube-apiserver")

    async def etcd_is_restarted(self):
        await restarted("etcd")

    async def the_kubelet_is_restarted(self):
        await restarted("kubelet")

    async def the_scheduler_is_killed(self):
        await restarted("kube-scheduler", force=True)

    async def the_controllers_are_killed(self):
        await restarted("kube-controller-manager", force=True)


NAMES = [name for name in vars(Faults) if not name.startswith("_")]


@pytest.fixture
def faults(chart, namespace):
    return Faults(chart, namespace)


@pytest.mark.parametrize("name", NAMES)
async def test_a_fault_costs_no_variable(faults, kernels, service, name):
    await getattr(faults, name)()
    for number, kernel_id in enumerate(kernels):
        assert await variable(service, kernel_id) == str(number)


async def test_many_faults_in_a_row_cost_no_variable(faults, kernels, service):
    seed = int(os.environ.get("GP_FAULTS_SEED", "185"))
    log.warning("GP_FAULTS_SEED=%d", seed)
    chosen = random.Random(seed)
    for _ in range(FAULTS):
        name = chosen.choice(NAMES)
        log.warning("%s", name)
        await getattr(faults, name)()
        number = chosen.randrange(KERNELS)
        assert await variable(service, kernels[number]) == str(number)
