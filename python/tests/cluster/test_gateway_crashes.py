"""A gateway that is killed in the middle of a start, a restart or a shutdown, at each of its steps."""

import contextlib
import json
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from ci.gateway_client import Refused
from timeouts import eventually

# As many as there are calls that change something; see crash_at.py.
START, RESTART, SHUTDOWN = 5, 9, 2


def steps(count):
    return [(1, "before"), *((number, "after") for number in range(1, count + 1))]


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def crashing(chart, namespace):
    """The release's gateway with crash_at.py built in."""
    code = (Path(__file__).parents[1] / "crash_at.py").read_text()
    configmap = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "crash"},
        "data": {"sitecustomize.py": code},
    }
    await namespace.run("apply", "-f", "-", stdin=json.dumps(configmap))
    container = {
        "name": "gateway",
        "env": [{"name": "PYTHONPATH", "value": "/crash"}],
        "volumeMounts": [{"name": "crash", "mountPath": "/crash"}],
    }
    volumes = [{"name": "crash", "configMap": {"name": "crash"}}]
    patch = {"spec": {"template": {"spec": {"containers": [container], "volumes": volumes}}}}
    await namespace.run("patch", "deployment", chart.fullname, "--patch", json.dumps(patch))
    await chart.wait_rolled_out()


@pytest.fixture
def crash(chart, namespace):
    """Have the gateway crash at a step of the operation in the block; it runs again afterwards."""

    @contextlib.asynccontextmanager
    async def crash(operation, number, moment):
        await chart.wait_rolled_out()
        [pod] = await chart.gateway_pods()
        name = pod["metadata"]["name"]
        order = f"echo {operation} {number} {moment} >/tmp/crash-at"
        async with chart.gateway(f"pod/{name}") as doomed:
            await namespace.run("exec", name, "--", "sh", "-c", order)
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                yield doomed

        async def was_restarted():
            [status] = (await chart.gateway_pods())[0]["status"]["containerStatuses"]
            return status["restartCount"] == 1 and status["ready"]

        await eventually(was_restarted)

    return crash


@pytest.fixture
def next_gateway(chart, namespace):
    """A client of the gateway that runs again, which is replaced by another pod afterwards."""

    @contextlib.asynccontextmanager
    async def next_gateway():
        [pod] = await chart.gateway_pods()
        name = pod["metadata"]["name"]
        async with chart.gateway(f"pod/{name}") as gateway:
            yield gateway
        # Else the kubelet would wait longer and longer before it starts this one again.
        await namespace.run("delete", "pod", name, "--force", "--grace-period=0")

    return next_gateway


@pytest.fixture
def alive(namespace):
    """Wait until a kernel answers, and is one pod with one Secret; return the value of x."""

    async def alive(gateway, kernel_id):
        async def answers():
            with contextlib.suppress(Refused, aiohttp.ClientError, ConnectionError):
                async with gateway.channels(kernel_id) as kernel:
                    result = await kernel.execute("print(globals().get('x'))")
                    return result.text

        value = await eventually(answers)

        async def is_single():
            pods = await namespace.names("pods", kernel_id)
            return len(pods) == 1 and await namespace.names("secrets", kernel_id) == pods

        await eventually(is_single)
        return value.strip()

    return alive


@pytest.mark.parametrize(("number", "moment"), steps(START))
async def test_a_start_leaves_nothing_behind(crash, next_gateway, namespace, number, moment):
    async with crash("start", number, moment) as doomed:
        await doomed.start()
    async with next_gateway() as gateway:
        if (number, moment) != (START, "after"):
            await namespace.wait_no_kernels()
        # After the last step it is a kernel like any other; only its client has not been notified.
        for kernel_id in await gateway.kernels():
            assert number == START
            await gateway.delete(kernel_id)
        async with gateway.kernel() as kernel:
            assert (await kernel.execute("print(1)")).text == "1\n"
    await namespace.wait_no_kernels()


@pytest.mark.parametrize(("number", "moment"), steps(RESTART))
async def test_a_restart_loses_no_kernel(crash, next_gateway, alive, namespace, number, moment):
    async with crash("restart", number, moment) as doomed:
        kernel_id = await doomed.start(KERNEL_USERNAME="alice")
        async with doomed.channels(kernel_id) as kernel:
            await kernel.execute("x = 1")
        await doomed.restart(kernel_id)
        if number == RESTART:  # which comes after the answer to the client
            while True:
                await doomed.kernels()
    async with next_gateway() as gateway:
        value = await alive(gateway, kernel_id)
        # Until something was done to the kernel, it has its variables.
        assert value == ("1" if number == 1 else "None")
        await gateway.delete(kernel_id)
    await namespace.wait_no_kernels()


@pytest.mark.parametrize(("number", "moment"), steps(SHUTDOWN))
async def test_a_shutdown_that_was_begun_is_finished(
    crash, next_gateway, alive, namespace, number, moment
):
    async with crash("shutdown", number, moment) as doomed:
        kernel_id = await doomed.start()
        async with doomed.channels(kernel_id) as kernel:
            await kernel.execute("x = 1")
        await doomed.delete(kernel_id)
    async with next_gateway() as gateway:
        if moment == "before":
            # The kernel itself has been asked to end before that step, so it is started anew.
            await alive(gateway, kernel_id)
            await gateway.delete(kernel_id)
        await namespace.wait_no_kernels()
        assert await gateway.kernels() == {}
