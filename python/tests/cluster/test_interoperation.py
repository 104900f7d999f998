"""Protocol version 1, both ways, with gateway-provisioners 0.5.0 itself: nothing of that is ours."""

import asyncio
import uuid

import pytest
import pytest_asyncio
from kubectl import Namespace

from ci import images
from ci.gateway_client import Gateway
from ci.peer import images as peer_images
from ci.peer.deploy import PORT, install
from ci.peer.manifests import NAME

# Prints now and then, and is interrupted each time: the peer gives a connection to the launcher 10 ms, and
# loses an interrupt that takes longer.
BUSY = "import time\nwhile True:\n    print('busy', flush=True)\n    time.sleep(2)"


@pytest.fixture(scope="module")
def peers(cluster):
    """The peer's images, made by its own `jupyter image-bootstrap install`, on the cluster."""
    peer_images.register()
    references = [peer_images.PEER_GATEWAY.reference, peer_images.PEER_KERNEL_PY.reference]
    cluster.load(built.archive for built in images.ensure(references))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def our_gateway(peers, chart, gateway):
    """Ours, with a kernel of the peer's image."""
    await chart.upgrade({"kernels": {"theirs": {"image": peer_images.PEER_KERNEL_PY.reference}}})
    return gateway


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peer_namespace(kubectl):
    # The peer's pods meet no Pod Security standard.
    namespace = Namespace(kubectl, f"gp-test-peer-{uuid.uuid4().hex[:8]}", security="privileged")
    await namespace.create()
    yield namespace
    await namespace.delete()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def their_gateway(peers, cluster, peer_namespace):
    """The peer's, with a kernelspec for our image."""
    token = await asyncio.to_thread(install, cluster, peer_namespace.name)
    target = f"deployment/{NAME}"
    forward = peer_namespace.kubectl.port_forward(peer_namespace.name, target, PORT)
    async with forward as port, Gateway(f"http://127.0.0.1:{port}", token) as gateway:
        yield gateway


async def use(gateway, name):
    """Execute, interrupt, restart, delete; return the kernel's id."""
    kernel_id = await gateway.start(name)
    async with gateway.channels(kernel_id) as kernel:
        assert (await kernel.execute("x = 6 * 7\nprint(x)")).text == "42\n"
        busy = await kernel.execute(BUSY, on_busy=lambda: gateway.interrupt(kernel_id))
        assert busy.error == "KeyboardInterrupt"
        assert (await kernel.execute("print(x)")).text == "42\n"
    assert (await gateway.restart(kernel_id))["id"] == kernel_id
    async with gateway.channels(kernel_id) as kernel:
        assert (await kernel.execute("print(x)")).error == "NameError"
        assert (await kernel.execute("print(6 * 7)")).text == "42\n"
    await gateway.delete(kernel_id)
    assert kernel_id not in await gateway.kernels()
    return kernel_id


async def test_their_image_under_our_gateway(our_gateway, namespace):
    async with our_gateway.kernel("theirs") as kernel:
        model = await our_gateway.request("GET", f"/api/kernels/{kernel.kernel_id}")
        assert model["usage"] is None  # a launcher of version 1 cannot be asked
        assert model["image"] == peer_images.PEER_KERNEL_PY.reference
        assert model["node"]
    kernel_id = await use(our_gateway, "theirs")
    await namespace.wait_gone(kernel_id)


async def test_our_image_under_their_gateway(their_gateway, peer_namespace):
    kernel_id = await use(their_gateway, "ours")
    await peer_namespace.wait_gone(kernel_id)
