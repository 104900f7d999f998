"""One engine of each kind for all tests: see ci/docker_engine.py.

One that cannot be had is a failure. Tests remove what they make: the engine stays for the next run.
"""

from __future__ import annotations

import pytest
from kernel_host import Host

from ci import docker_engine, images


@pytest.fixture(scope="session")
def engine():
    """Docker's, with the image of the Python kernel in it."""
    return _with_kernel(docker_engine.ensure())


@pytest.fixture(scope="session")
def podman():
    """podman's, likewise."""
    return _with_kernel(docker_engine.bring_up(docker_engine.PODMAN))


def _with_kernel(engine):
    engine.load(images.ensure([images.KERNEL_PY.reference]))
    return engine


@pytest.fixture(scope="session")
def swarm_network(engine):
    """The name of a network whose tasks the tests can reach, in an engine that is a Swarm's manager."""
    with engine.swarm_network() as name:
        yield name


@pytest.fixture
async def hosts(request, monkeypatch, tmp_path):
    """A function that makes a host of kernels of a provisioner; nothing of them may remain."""
    made = []

    def make(provisioner, on="engine"):
        engine = request.getfixturevalue(on)
        host = Host(engine, tmp_path, provisioner)
        made.append(host)
        if host.is_swarm:
            network = request.getfixturevalue("swarm_network")
            monkeypatch.setenv("GP_DOCKER_NETWORK", network)
        monkeypatch.setenv("DOCKER_HOST", engine.host)
        monkeypatch.setenv("GP_RESPONSE_IP", engine.host_address)
        monkeypatch.setenv("GP_INSTANCE", host.instance)
        return host

    yield make
    for host in made:
        host.wait_gone()
