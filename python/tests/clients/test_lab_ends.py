"""Operators act on the cluster in the middle of a cell: its user sees why it ended, or that it goes on."""

import re

import pytest_asyncio
from host_network import local_cluster
from sight import see
from test_ends import evict, pod_of
from ways import STOCK, WAYS, Way

from timeouts import TIMEOUT_SECONDS, eventually

BUSY = "print('begun', flush=True)\nimport time\ntime.sleep(600)"
SIGN = "/tmp/rolled-out"
COUNT = f"""
import itertools, os, time
for number in itertools.count():
    print(f'n{{number}}', end=' ', flush=True); time.sleep(0.5)
    if os.path.exists({SIGN!r}): break
print('the end')
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=WAYS)
async def way(request, cluster, chart, browser, tmp_path_factory):
    """JupyterLabs that reach the release's Service, and so the gateway after this one."""
    local_cluster(cluster)  # whose Services this host can reach
    url, token = await chart.service_url(), await chart.token()
    way = Way(request.param, url, token, tmp_path_factory.mktemp(request.param), browser)
    await way.install()
    return way


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab(way):
    async with way.jupyterlab() as lab:
        yield lab


async def only_kernel(way):
    """Return the id of the kernel, once those of earlier tests have gone."""

    async def one():
        kernels = await way.gateway_kernels()
        return kernels if len(kernels) == 1 else []

    [kernel_id] = await eventually(one)
    return kernel_id


async def test_an_eviction(way, lab, kubectl, namespace):
    async with lab.notebook("eviction", BUSY, "40 + 2") as notebook:
        await notebook.run(0)
        await see(notebook.output(0), "begun")
        pod = await pod_of(namespace, await only_kernel(way))
        await evict(kubectl, namespace, pod["metadata"]["name"])
        await notebook.accept_restart()
        await see(notebook.output(0), "evicted from its node through the Eviction API")
        await notebook.picture("eviction")
        await notebook.run(1)
        await see(notebook.output(1), "42")


async def test_a_rollout_of_the_gateway(way, lab, chart, namespace):
    async with lab.notebook("rollout", COUNT) as notebook:
        await notebook.run(0)
        await see(notebook.output(0), "n0")
        pod = await pod_of(namespace, await only_kernel(way))
        before = [f"pod/{each['metadata']['name']}" for each in await chart.gateway_pods()]
        await namespace.run("rollout", "restart", f"deployment/{chart.fullname}")
        await chart.wait_rolled_out()
        # Until its end the old gateway keeps its connections.
        await namespace.run("wait", "--for=delete", f"--timeout={TIMEOUT_SECONDS}s", *before)
        await namespace.run("exec", pod["metadata"]["name"], "--", "touch", SIGN)
        words = [] if way.name == STOCK else ["lost; reconnecting", "Connected again after"]
        await see(notebook.output(0), "n0", *words, "the end")
        await notebook.wait_idle()
        await notebook.picture("rollout")
        numbers = re.findall(r"\bn(\d+)\b", await notebook.output(0).inner_text())
        assert numbers == [str(number) for number in range(len(numbers))]
