"""One kernel, its watch, and how many sockets there may be."""

import resource

import pytest
import zmq
from jupyter_client.kernelspec import KernelSpecManager

from gateway_provisioners.errors import KernelBusy
from gateway_provisioners.gateway.kernels.kernel import (
    GatewayKernel,
    GatewayKernelRestarter,
    KernelGone,
)
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.gateway.process import open_files as limits


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manager = GatewayKernelManager(
        kernel_spec_manager=KernelSpecManager(), connection_dir=str(tmp_path)
    )
    yield manager
    manager.context.destroy()


async def test_a_kernel_that_moves_to_another_address_has_moved(kernels):
    kernel = GatewayKernel(parent=kernels, ip="10.0.0.1", shell_port=5)
    before = kernel.ports
    kernel.ip = "10.0.0.2"
    assert kernel.ports != before


class FakeKernel:
    """What a restarter asks of a kernel."""

    kernel_id = "k"
    provisioner = None
    shutting_down = False
    is_ours_to_restart = True
    alive = False

    def __init__(self, error=None):
        self.restarts = 0
        self.error = error

    async def is_alive(self):
        return self.alive

    async def restart_kernel(self, **_):
        self.restarts += 1
        if self.error:
            raise self.error


@pytest.fixture
def watch(monkeypatch):
    monkeypatch.setattr(GatewayKernelRestarter.kernel_manager, "klass", object)

    def watch(kernel):
        restarter = GatewayKernelRestarter(restart_limit=3)
        restarter.started = 0
        restarter.start = lambda: setattr(restarter, "started", restarter.started + 1)
        restarter.stop = lambda: None
        restarter.kernel_manager = kernel
        return restarter

    return watch


async def test_a_kernel_that_is_being_shut_down_is_left_alone(watch):
    kernel = FakeKernel()
    kernel.shutting_down = True
    await watch(kernel).poll()
    assert kernel.restarts == 0


async def test_a_kernel_that_another_gateway_restarts_is_left_to_it(watch):
    kernel = FakeKernel()
    kernel.is_ours_to_restart = False
    await watch(kernel).poll()
    assert kernel.restarts == 0


async def test_failing_restarts_are_tried_again_and_end_with_a_word(watch):
    kernel = FakeKernel(RuntimeError("no room"))
    restarter = watch(kernel)
    words = []
    restarter.add_callback(lambda: words.append("dead"), "dead")
    for _ in range(4):
        await restarter.poll()
    assert kernel.restarts == restarter.started == 3
    assert words == ["dead"]


async def test_a_kernel_that_is_busy_is_no_failure(watch):
    kernel = FakeKernel(KernelBusy("another gateway does that"))
    restarter = watch(kernel)
    words = []
    restarter.add_callback(lambda: words.append("dead"), "dead")
    for _ in range(10):
        await restarter.poll()
    assert kernel.restarts == restarter.started == 10
    assert words == []


async def test_a_kernel_that_is_gone_is_not_tried_again(watch):
    restarter = watch(FakeKernel(KernelGone("gone")))
    await restarter.poll()
    assert restarter.started == 0


async def test_there_may_be_more_sockets_than_0mq_allows_by_itself(kernels):
    assert kernels.context.get(zmq.MAX_SOCKETS) == limits.most_zmq_sockets()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft > 3 * 1023:
        assert limits.most_zmq_sockets() > 1023


def test_the_soft_limit_of_files_is_raised_to_the_hard_one(monkeypatch):
    in_force = [1024, 4096]
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: tuple(in_force))
    monkeypatch.setattr(
        limits.resource, "setrlimit", lambda _, new: in_force.__setitem__(slice(2), new)
    )
    assert limits.raise_open_files() == 4096
    assert in_force == [4096, 4096]
    in_force[:] = [resource.RLIM_INFINITY] * 2
    assert limits.most_zmq_sockets() == 65535
