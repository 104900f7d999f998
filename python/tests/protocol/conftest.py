import asyncio
import contextlib
import functools
import json

import pytest
import pytest_asyncio
from launched import KERNEL_ID, LAUNCHERS, launched
from launched_r import ContainerOfR
from reference_v1 import GatewayV1

from ci import images
from gateway_provisioners.handshake.command_client import CommandEndpoint
from gateway_provisioners.handshake.payload import GatewayKey, new_launch_key
from gateway_provisioners.handshake.response_server import ResponseServer
from gateway_provisioners.model.features import FRESH_KEY


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if {"container_of_r", "scala_image"}.intersection(item.fixturenames):  # an image to build
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def vectors():
    return json.loads((LAUNCHERS / "protocol" / "vectors.json").read_text())


@pytest.fixture(scope="session")
def captured():
    path = LAUNCHERS / "protocol" / "captured-gateway-provisioners-0.5.0.json"
    return json.loads(path.read_text())


@pytest.fixture(scope="session")
def gateway_key():
    return GatewayKey.generate()


@pytest_asyncio.fixture
async def server(gateway_key):
    server = ResponseServer("127.0.0.1", 0, 0, gateway_key)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def gateway_v1():
    with GatewayV1() as gateway:
        yield gateway


@pytest.fixture(scope="session")
def container_of_r(tmp_path_factory):
    folder = tmp_path_factory.mktemp("r")
    folder.chmod(0o777)  # the image has a user of its own
    with images.container(images.KERNEL_R, folder) as command:
        yield ContainerOfR(command, folder)


class Kernel:
    """A launcher that has reported.

    `launch_key` was in its environment; `secret` is the key in force since its report.
    """

    def __init__(self, started, launch_key, arrival):
        self.launched = started
        self.process = started.process
        self.launch_key = launch_key
        self.secret = arrival.secret
        self.arrival = arrival
        self.info = arrival.connection_info

    @property
    def endpoint(self):
        return CommandEndpoint("127.0.0.1", self.info.comm_port, KERNEL_ID, self.secret)


@contextlib.asynccontextmanager
async def launching(start, server, **options):
    """Start a launcher that has a launch key, and take its report."""
    key = new_launch_key()
    address = server.response_address, server.public_key
    options = {"KERNEL_LAUNCH_KEY": key, "KERNEL_GATEWAY_FEATURES": FRESH_KEY, **options}
    with (
        server.expect(KERNEL_ID, key) as expectation,
        start(*address, **options) as started,
    ):
        ended = asyncio.create_task(asyncio.to_thread(started.process.wait))
        arrival = asyncio.create_task(expectation.next_arrival())
        try:
            await asyncio.wait({ended, arrival}, return_when=asyncio.FIRST_COMPLETED)
            assert arrival.done(), started.log()
            yield Kernel(started, key, arrival.result())
        finally:
            started.kill()
            await ended


@pytest.fixture
def launch(tmp_path, server):
    def start(*arguments, **options):
        return launching(
            functools.partial(launched, tmp_path), server, arguments=arguments, **options
        )

    return start


@pytest.fixture
def launch_r_for(container_of_r):
    """Launch an R kernel that reports to a given response server."""
    return functools.partial(launching, container_of_r.launched)


@pytest.fixture
def launch_r(launch_r_for, server):
    return functools.partial(launch_r_for, server)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def launch_once(tmp_path_factory, gateway_key):
    """One launcher for all tests of a module that leave it as it is."""
    server = ResponseServer("127.0.0.1", 0, 0, gateway_key)
    await server.start()
    start = functools.partial(launched, tmp_path_factory.mktemp("launch"))
    async with launching(start, server) as kernel:
        yield kernel
    await server.stop()
