"""Operators act on the cluster in the middle of a cell: its user sees why it ended, or nothing at all."""

import pytest_asyncio
from host_network import local_cluster
from lab import Client
from sight import see
from test_ends import evict, pod_of

from ci.gateway_access import jupyter_server
from ci.gateway_client import Gateway

BUSY = "print('begun', flush=True)\nimport time\ntime.sleep(600)"
# As many lines as the window shows.
LINES = 20
COUNT = f"""
import time
for line in range({LINES}): print('line', line, flush=True); time.sleep(0.5)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab(cluster, chart, browser):
    """A JupyterLab that reaches the release's Service, and so the gateway after this one."""
    local_cluster(cluster)  # whose Services this host can reach
    url, token = await chart.service_url(), await chart.token()
    with jupyter_server(url, token, program="jupyterlab") as server:
        yield Client(server, browser)


async def test_an_eviction(lab, kubectl, namespace):
    async with lab.notebook("eviction", BUSY, "40 + 2") as notebook:
        await notebook.run(0)
        await see(notebook.output(0), "begun")
        async with Gateway(lab.url, "") as server:
            [kernel_id] = await server.kernels()
        pod = await pod_of(namespace, kernel_id)
        await evict(kubectl, namespace, pod["metadata"]["name"])
        await notebook.accept_restart()
        await see(notebook.output(0), "evicted from its node through the Eviction API")
        await notebook.picture("eviction")
        await notebook.run(1)
        await see(notebook.output(1), "42")


async def test_a_rollout_of_the_gateway(lab, chart, namespace):
    async with lab.notebook("rollout", COUNT) as notebook:
        await notebook.run(0)
        await see(notebook.output(0), "line 0")
        await namespace.run("rollout", "restart", f"deployment/{chart.fullname}")
        await chart.wait_rolled_out()
        lines = " ".join(f"line {number}" for number in range(LINES))
        await see(notebook.output(0), lines)
        await notebook.wait_idle()
        await notebook.picture("rollout")
