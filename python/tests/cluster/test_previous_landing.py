"""From the chart and images that landed before to today's, and back: no kernel loses a variable."""

import pytest
from chart import CHART

from ci import previous_landing
from ci.paths import version
from timeouts import TIMEOUT_SECONDS

BUSY_LOOP = "print('begun', flush=True)\nwhile True: pass"


@pytest.fixture(scope="module")
def previous(cluster):
    """The previous landing, with its images on the cluster."""
    previous = previous_landing.ensure()
    cluster.load(previous.archives)
    return previous


def values(gateway):
    """Kernels of both images, under the gateway with the tag `gateway`."""
    return {
        "gateway": {"image": {"tag": gateway}},
        "kernels": {
            "python3": {"image": f"elyra/kernel-py:{version()}"},
            "previous": {"image": previous_landing.KERNEL_PY},
        },
    }


async def start(gateway, name):
    kernel_id = await gateway.start(name)
    async with gateway.channels(kernel_id) as kernel:
        assert (await kernel.execute("x = 0")).status == "ok"
    return kernel_id


async def use(gateway, kernel_id, expected):
    """Count on from a variable of the kernel, and interrupt it."""
    async with gateway.channels(kernel_id) as kernel:
        assert (await kernel.execute("x += 1; print(x)")).text == f"{expected}\n"
        busy = await kernel.execute(BUSY_LOOP, on_busy=lambda: gateway.interrupt(kernel_id))
        assert busy.error == "KeyboardInterrupt"


async def test_upgrade_and_rollback_keep_kernels(new_chart, namespace, previous):
    chart = new_chart(namespace, path=previous.chart, release="landed", image="")
    await chart.install(values(previous_landing.VERSION))
    async with chart.gateway() as gateway:
        kernels = [await start(gateway, name) for name in ("previous", "python3")]

    await chart.upgrade_to(CHART, values(version()))
    async with chart.gateway() as gateway:
        for kernel_id in kernels:
            await use(gateway, kernel_id, 1)
        kernels += [await start(gateway, name) for name in ("previous", "python3")]

    await chart.rollback()
    async with chart.gateway() as gateway:
        for kernel_id, expected in zip(kernels, (2, 2, 1, 1), strict=True):
            await use(gateway, kernel_id, expected)
        restarted, *deleted = kernels
        await gateway.restart(restarted)
        async with gateway.channels(restarted) as kernel:
            assert (await kernel.execute("print(x)")).error == "NameError"
        for kernel_id in deleted:
            await gateway.delete(kernel_id)
            await namespace.wait_gone(kernel_id)

    await chart.uninstall()
    await namespace.wait_no_kernels()
    gone = ("pods", "-l", "app.kubernetes.io/instance=landed")
    await namespace.run("wait", "--for=delete", *gone, f"--timeout={TIMEOUT_SECONDS}s")
