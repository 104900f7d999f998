"""The pod and the usage of a kernel, as its users see them, and the warning before it is out of memory."""

import pytest
import pytest_asyncio

from ci import images
from ci.demo_notebooks import SCALA_VARIABLES
from memory_warning import warning_of
from timeouts import TIMEOUT_SECONDS, eventually

MB = 10**6
LIMITS = {"cpu": "2", "memory": "1536Mi"}
# By kernelspec, a cell that takes 300 MB and then goes on until it is interrupted.
TAKE_300_MB = {
    "py": "held = b'x' * 300_000_000\nprint('taken', flush=True)\nwhile True: pass",
    "r": "held <- numeric(37500000) + 1; cat('taken'); flush.console(); repeat {}",
    "scala": 'val held = Array.fill(30)(new Array[Byte](10000000)); println("taken"); while (true) {}',
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(chart):
    resources = {"limits": LIMITS, "requests": {"cpu": "100m", "memory": "256Mi"}}
    variables = {"SPARK_DRIVER_MEMORY": "700m", **SCALA_VARIABLES}
    await chart.upgrade(
        {
            "kernels": {
                "py": {"image": images.KERNEL_PY.reference, "resources": resources},
                "r": {"enabled": True, "resources": resources},
                "scala": {
                    "enabled": True,
                    "resources": resources,
                    "launchTimeout": TIMEOUT_SECONDS,
                    "env": variables,
                },
                "small": {
                    "image": images.KERNEL_PY.reference,
                    "resources": {"limits": {"memory": "512Mi"}},
                    "clientPolicy": {"maxMemory": "1Gi"},
                },
            }
        }
    )
    async with chart.gateway() as gateway:

        async def are_listed():
            listed = await gateway.request("GET", "/api/kernelspecs")
            return {*TAKE_300_MB, "small"} <= listed["kernelspecs"].keys()

        await eventually(are_listed)
        yield gateway


@pytest.mark.parametrize("name", TAKE_300_MB)
async def test_a_busy_kernel_says_what_it_uses(gateway, namespace, name):
    async with gateway.kernel(name) as kernel:

        async def look():
            return await gateway.request("GET", f"/api/kernels/{kernel.kernel_id}")

        model = await look()
        before = model["usage"]
        assert (before["memory_limit"], before["cpu_limit"]) == (1536 * 2**20, 2)
        [pod] = await namespace.objects("pods", kernel.kernel_id)
        assert model["node"] == pod["spec"]["nodeName"]
        assert model["image"] == pod["spec"]["containers"][0]["image"]
        assert model["limits"] == LIMITS
        assert model["started"][:10] >= pod["metadata"]["creationTimestamp"][:10]

        async def look_while_busy():
            async def has_grown():
                usage = (await look())["usage"]
                # A JVM has touched some of its heap before.
                return usage["memory"] > before["memory"] + 150 * MB and usage

            usage = await eventually(has_grown)
            assert usage["cpu"] > before["cpu"]
            await gateway.interrupt(kernel.kernel_id)

        await kernel.execute(TAKE_300_MB[name], on_busy=look_while_busy)


async def test_a_cell_is_warned_before_its_kernel_is_out_of_memory(gateway):
    async with gateway.kernel("small") as kernel:
        words = await warning_of(kernel)
        assert words.startswith("taken The kernel uses ")
        assert "of the 512 MiB of memory that it may use (9" in words
        assert "set KERNEL_MEMORY_LIMIT to at most 1Gi" in words
        await gateway.interrupt(kernel.kernel_id)
