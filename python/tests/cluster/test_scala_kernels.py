"""Scala kernels with Spark, through a gateway that Helm deployed; JVMs start slowly, hence few long tests."""

import asyncio

import pytest_asyncio
from kernel_deaths import execute_to_death

from ci import images
from ci.demo_notebooks import SCALA_VARIABLES
from timeouts import TIMEOUT_SECONDS, eventually

COUNT_TO_TEN = "println(sc.parallelize(1 to 10).map(_ * 2).sum)"
# Until the container's limit, which is below what the heap may become.
FILL_MEMORY = "val all = Iterator.continually(new Array[Byte](16 << 20)).map(_.clone).toList"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(chart):
    limited = {"limits": {"memory": "1200Mi"}}
    await chart.upgrade(
        {
            "kernels": {
                "scala": {
                    "enabled": True,
                    "launchTimeout": TIMEOUT_SECONDS,
                    "env": {"SPARK_DRIVER_MEMORY": "500m", **SCALA_VARIABLES},
                },
                "greedy_scala": {
                    "image": images.KERNEL_SCALA.reference,
                    "language": "scala",
                    "launchTimeout": TIMEOUT_SECONDS,
                    "env": {"SPARK_DRIVER_MEMORY": "4g", **SCALA_VARIABLES},
                    "resources": limited,
                },
            }
        }
    )
    async with chart.gateway() as gateway:

        async def is_listed():
            listed = await gateway.request("GET", "/api/kernelspecs")
            return "greedy_scala" in listed["kernelspecs"]

        await eventually(is_listed)
        yield gateway


async def test_from_start_to_end(gateway, namespace):
    async with gateway.kernel("scala") as kernel:
        info = await kernel.request_reply("shell", "kernel_info_request", {})
        assert info["language_info"]["name"] == "scala"
        assert (await kernel.execute(COUNT_TO_TEN)).text == "110.0\n"
        reply = await kernel.request_reply(
            "shell", "complete_request", {"code": "spark.ran", "cursor_pos": 9}
        )
        assert reply["matches"] == ["range"]

        def interrupt():
            return gateway.interrupt(kernel.kernel_id)

        await kernel.execute("val kept = 41")
        result = await kernel.execute("println(kept); while (true) {}", on_busy=interrupt)
        assert result.status == "error"
        job = "println(kept); sc.parallelize(1 to 2, 1).foreach(_ => Thread.sleep(3600000))"
        assert (await kernel.execute(job, on_busy=interrupt)).status == "error"
        assert (await kernel.execute("println(kept + 1)")).text == "42\n"

        await gateway.restart(kernel.kernel_id)
        assert (await kernel.execute("kept")).status == "error"
        assert (await kernel.execute(COUNT_TO_TEN)).text == "110.0\n"
    await namespace.wait_gone(kernel.kernel_id)


async def test_five_at_once(gateway, namespace):
    async def use():
        async with gateway.kernel("scala") as kernel:
            return (await kernel.execute("println(6 * 7)")).text

    assert await asyncio.gather(*(use() for _ in range(5))) == ["42\n"] * 5
    await namespace.wait_no_kernels()


async def test_a_kernel_beyond_its_memory_limit_is_restarted_under_its_id(gateway):
    async with gateway.kernel("greedy_scala") as kernel:
        await execute_to_death(kernel, FILL_MEMORY)
        assert (await kernel.execute('println("alive")')).text == "alive\n"
