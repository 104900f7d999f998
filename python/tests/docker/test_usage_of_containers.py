"""The container and the usage of a kernel on real engines, and the warning before it is out of memory."""

import asyncio
import contextlib

import pytest
from gateway_host import GatewayHost
from kernel_host import EVERY_ENGINE

from ci import images
from memory_warning import warning_of

LIMITS = {"cpu": "1500m", "memory": "512Mi"}


@pytest.fixture
def gateway_of(hosts, tmp_path, unused_tcp_port_factory):
    """A function that returns a client of a gateway with kernels on one of the engines."""

    @contextlib.asynccontextmanager
    async def gateway_of(name):
        host = hosts(*EVERY_ENGINE[name])
        ports = unused_tcp_port_factory(), unused_tcp_port_factory()
        config = {"resources": {"limits": LIMITS}, "max_memory": "1Gi"}
        async with GatewayHost(host, tmp_path / "gateway", *ports, **config).running() as client:
            yield client
            await asyncio.to_thread(host.wait_gone)  # before the gateway is killed

    return gateway_of


@pytest.mark.parametrize("name", EVERY_ENGINE)
async def test_a_busy_kernel_says_what_it_uses(gateway_of, name):
    async with gateway_of(name) as client, client.kernel("test") as kernel:
        model = await client.request("GET", f"/api/kernels/{kernel.kernel_id}")
        assert model["node"]
        assert images.KERNEL_PY.reference in model["image"]
        assert model["limits"] == {"cpu": "1500m", "memory": str(512 * 2**20)}
        usage = model["usage"]
        assert (usage["memory_limit"], usage["cpu_limit"]) == (512 * 2**20, 1.5)
        assert 10**6 < usage["memory"] < 512 * 2**20
        assert usage["cpu"] > 0


async def test_a_cell_is_warned_before_its_kernel_is_out_of_memory(gateway_of):
    async with (
        gateway_of("docker-provisioner") as client,
        client.kernel("test") as kernel,
    ):
        words = await warning_of(kernel)
        assert words.startswith("taken The kernel uses ")
        assert "of the 512 MiB of memory that it may use (9" in words
        assert "set KERNEL_MEMORY_LIMIT to at most 1Gi" in words
