"""One browser for all tests; for each module a gateway on Kubernetes or beside Docker, and a JupyterLab."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio
from browser import chromium
from gateway_host import GatewayHost
from kernel_host import Host
from kernels import values, write_specs
from lab import Client
from release_fixtures import (  # noqa: F401 - for the tests
    chart,
    cluster,
    gateway,
    kubectl,
    namespace,
    new_chart,
)
from ways import KERNELSPECS, PACKAGE, Way

from ci import docker_engine, images
from ci.gateway_access import free_port, jupyter_server
from timeouts import eventually


def pytest_collection_modifyitems(items):
    # The browser, and what drives it, belong to one loop.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser():
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def on_kubernetes(chart, gateway):  # noqa: F811
    """A client of a gateway that Helm deployed, which lists the tests' kernels."""
    wanted = values(chart.image)
    await chart.upgrade(wanted)

    async def are_listed():
        listed = await gateway.request("GET", "/api/kernelspecs")
        return wanted["kernels"].keys() <= listed["kernelspecs"].keys()

    await eventually(are_listed)
    return gateway


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def on_docker(tmp_path_factory):
    """A client of a gateway beside a Docker engine, which lists the tests' kernels."""
    engine = docker_engine.ensure()
    engine.load(images.ensure([images.KERNEL_PY.reference, images.DATA_SCI_PY.reference]))
    host = Host(engine, tmp_path_factory.mktemp("specs"), "docker-provisioner")
    folder = tmp_path_factory.mktemp("host")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DOCKER_HOST", engine.host)
        environment.setenv("GP_RESPONSE_IP", engine.host_address)
        environment.setenv("GP_INSTANCE", host.instance)
        process = GatewayHost(host, folder, free_port(), free_port())
    write_specs(folder / "jupyter/kernels")
    async with process.running() as client:
        yield client
        host.wait_gone()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab_on_kubernetes(on_kubernetes, browser):
    with jupyter_server(on_kubernetes.url, on_kubernetes.token, program="jupyterlab") as url:
        yield Client(url, browser)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab_with_package(on_kubernetes, browser, tmp_path_factory):
    """Gateway mode, with gateway-provisioners-client."""
    folder = tmp_path_factory.mktemp(PACKAGE)
    way = Way(PACKAGE, on_kubernetes.url, on_kubernetes.token, folder, browser)
    async with way.jupyterlab() as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab_with_kernelspecs(on_kubernetes, browser, tmp_path_factory):
    """The kernels of the gateway as local kernelspecs."""
    folder = tmp_path_factory.mktemp(KERNELSPECS)
    way = Way(KERNELSPECS, on_kubernetes.url, on_kubernetes.token, folder, browser)
    await way.install()
    async with way.jupyterlab() as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab_on_docker(on_docker, browser):
    with jupyter_server(on_docker.url, on_docker.token, program="jupyterlab") as url:
        yield Client(url, browser, suffix="-on-docker")
