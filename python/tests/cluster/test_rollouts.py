"""An operator rolls the gateway at noon and no data scientist notices.

Clients are stock ones, by a Jupyter server, and nbclient with the client package. What jupyter_server
connects to the gateway with is what `jupyter lab --gateway-url` uses; it gives a lost connection up after
five tries, within 31 seconds.
"""

import asyncio
import contextlib

import nbformat
import pytest
from host_network import local_cluster

from ci.gateway_access import jupyter_server
from ci.gateway_client import Gateway
from notebook_client import execute_notebook

KERNELS = 10
LINES = 100
COMPUTATION = f"""
import time
for line in range({LINES}):
    print(line, flush=True)
    time.sleep(0.1)
y = x + 1
"""


@pytest.fixture
async def lab(cluster, chart):
    """The URL of a Jupyter server whose kernels are those of the release's Service."""
    local_cluster(cluster)  # whose Services this host can reach
    with jupyter_server(await chart.service_url(), await chart.token()) as url:
        yield url


@pytest.mark.parametrize("replicas", [1, 3])
async def test_computations_go_on_and_no_line_is_lost(chart, namespace, lab, replicas):
    await chart.upgrade({"gateway": {"replicas": replicas}})
    await chart.wait_rolled_out()
    async with Gateway(lab, "") as client, contextlib.AsyncExitStack() as stack:
        ids = await asyncio.gather(*(client.start() for _ in range(KERNELS)))
        kernels = [await stack.enter_async_context(client.channels(each)) for each in ids]
        for number, kernel in enumerate(kernels):
            await kernel.execute(f"x = {number}")
        computing = asyncio.gather(*(kernel.execute(COMPUTATION) for kernel in kernels))
        await namespace.run("rollout", "restart", f"deployment/{chart.fullname}")
        await chart.wait_rolled_out()
        for result in await computing:
            assert result.status == "ok"
            assert result.text == "".join(f"{line}\n" for line in range(LINES))
        for number, kernel_id in enumerate(ids):
            # Anew: what a stock client says between two connections is lost.
            async with client.channels(kernel_id) as kernel:
                assert (await kernel.execute("print(y)")).text == f"{number + 1}\n"
            await client.delete(kernel_id)
    await namespace.wait_no_kernels()


async def test_nbclient_runs_a_long_notebook_through_rollouts(cluster, chart, namespace, tmp_path):
    local_cluster(cluster)
    await chart.upgrade({"gateway": {"replicas": 1}})
    await chart.wait_rolled_out()
    cells = ["import time\nx = 0"]
    # Short cells, whose client has something to say at any moment, and long ones.
    for number in range(1, 121):
        pause = 3 if number % 20 == 0 else 0.1
        cells.append(f"time.sleep({pause})\nx += 1\nprint(x)")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    path = tmp_path / "notebook.ipynb"
    nbformat.write(notebook, path)
    running = asyncio.create_task(
        execute_notebook(path, await chart.service_url(), await chart.token())
    )
    rollouts = 0
    while not running.done():
        await namespace.run("rollout", "restart", f"deployment/{chart.fullname}")
        await chart.wait_rolled_out()
        rollouts += 1
    await running
    assert rollouts > 1
    executed = nbformat.read(path, as_version=4)
    for number, cell in enumerate(executed.cells[1:], 1):
        printed = [output.text for output in cell.outputs if output.name == "stdout"]
        assert "".join(printed) == f"{number}\n"
    await namespace.wait_no_kernels()


async def test_an_upgrade_and_its_rollback_cost_no_variable(chart, namespace, lab):
    async with Gateway(lab, "") as client:
        kernel_id = await client.start()
        async with client.channels(kernel_id) as kernel:
            await kernel.execute("x = 1")
        await chart.upgrade({"gateway": {"podAnnotations": {"changed": "yes"}, "logLevel": "INFO"}})
        await chart.wait_rolled_out()
        async with client.channels(kernel_id) as kernel:
            assert (await kernel.execute("print(x)")).text == "1\n"
        await chart.rollback()
        await chart.wait_rolled_out()
        async with client.channels(kernel_id) as kernel:
            assert (await kernel.execute("print(x + 1)")).text == "2\n"
        await client.delete(kernel_id)
    await namespace.wait_no_kernels()
