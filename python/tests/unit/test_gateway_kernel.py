"""One kernel, its restarter, and the sockets of all kernels."""

import asyncio
import resource

import pytest
import zmq
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager

from gateway_provisioners.errors import KernelBusy, KernelGone, LaunchFailed
from gateway_provisioners.gateway.kernels import restarter as restarter_module
from gateway_provisioners.gateway.kernels.kernel import GatewayKernel
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.gateway.kernels.restart_failures import RestartFailures
from gateway_provisioners.gateway.kernels.restarter import GatewayKernelRestarter
from gateway_provisioners.gateway.process import open_files
from timeouts import within_timeout


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manager = GatewayKernelManager(
        kernel_spec_manager=KernelSpecManager(), connection_dir=str(tmp_path)
    )
    yield manager
    manager.context.destroy()


async def test_a_new_address_counts_as_changed_ports(kernels):
    kernel = GatewayKernel(parent=kernels, ip="10.0.0.1", shell_port=5)
    before = kernel.ports
    kernel.ip = "10.0.0.2"
    assert kernel.ports != before


class FakeKernel:
    """A kernel, as its restarter sees it."""

    kernel_id = "k"
    provisioner = None
    shutting_down = False
    is_restarted_here = True
    is_known_to_live = False
    alive = False

    def __init__(self, error=None):
        self.announced = []
        self.restart_failures = RestartFailures(self.announced.append)
        self.restarts = self.polls = 0
        self.error = error

    async def is_alive(self):
        self.polls += 1
        return self.alive

    async def announce_end(self, *, restarts): ...

    async def restart_kernel(self, **_):
        self.restarts += 1
        if self.error:
            raise self.error


@pytest.fixture
def restarter_of(monkeypatch):
    monkeypatch.setattr(GatewayKernelRestarter.kernel_manager, "klass", object)

    def restarter_of(kernel):
        restarter = GatewayKernelRestarter(restart_limit=3)
        restarter.started = 0
        restarter.start = lambda: setattr(restarter, "started", restarter.started + 1)
        restarter.stop = lambda: None
        restarter.kernel_manager = kernel
        return restarter

    return restarter_of


async def test_a_kernel_that_is_being_shut_down_is_left_alone(restarter_of):
    kernel = FakeKernel()
    kernel.shutting_down = True
    await restarter_of(kernel).poll()
    assert kernel.restarts == 0


async def test_a_kernel_restarted_by_another_gateway_is_left_alone(restarter_of):
    kernel = FakeKernel()
    kernel.is_restarted_here = False
    await restarter_of(kernel).poll()
    assert kernel.restarts == 0


async def test_failing_restarts_are_retried_up_to_the_limit(restarter_of):
    kernel = FakeKernel(RuntimeError("no room"))
    restarter = restarter_of(kernel)
    events = []
    restarter.add_callback(lambda: events.append("dead"), "dead")
    for _ in range(4):
        await restarter.poll()
    assert kernel.restarts == restarter.started == 3
    assert events == ["dead"]


async def test_a_busy_kernel_does_not_count_as_a_failed_restart(restarter_of):
    kernel = FakeKernel(KernelBusy("another gateway does that"))
    restarter = restarter_of(kernel)
    events = []
    restarter.add_callback(lambda: events.append("dead"), "dead")
    for _ in range(10):
        await restarter.poll()
    assert kernel.restarts == restarter.started == 10
    assert events == []


WAITS = LaunchFailed("VolumeNotReady", "It is attached elsewhere.", can_pass=True)


async def test_a_restart_that_has_to_wait_does_not_count_as_failed(restarter_of, monkeypatch):
    monkeypatch.setattr(restarter_module, "_MOST_WAITS", 10)
    kernel = FakeKernel(WAITS)
    restarter = restarter_of(kernel)
    events = []
    restarter.add_callback(lambda: events.append("dead"), "dead")
    for _ in range(10):
        await restarter.poll()
    assert kernel.restarts == restarter.started == 10
    assert events == []
    kernel.execution_state = "restarting"
    for _ in range(4):
        await restarter.poll()
    assert kernel.restarts == 13
    assert events == ["dead"]
    assert kernel.execution_state == "dead"


async def test_each_cause_of_a_failed_restart_is_announced_once(restarter_of):
    kernel = FakeKernel(WAITS)
    restarter = restarter_of(kernel)
    for _ in range(10):
        await restarter.poll()
    (announced,) = kernel.announced
    assert announced == (
        "The kernel has ended, and its restart has to wait; the gateway tries again. It is attached "
        "elsewhere."
    )
    kernel.error = RuntimeError("a secret")
    for _ in range(2):
        await restarter.poll()
    (_, announced) = kernel.announced
    assert announced == (
        "The kernel has ended and could not be restarted; the gateway tries again. Internal error; see the "
        "gateway log."
    )
    kernel.restart_failures.forget()
    await restarter.poll()
    assert kernel.announced[2:] == kernel.announced[1:2]


async def test_a_failed_restart_that_a_client_was_answered_is_not_announced(restarter_of):
    kernel = FakeKernel(WAITS)
    kernel.restart_failures.answered(WAITS)
    await restarter_of(kernel).poll()
    assert kernel.announced == []


async def test_the_log_of_a_failed_restart_is_not_announced(restarter_of):
    kernel = FakeKernel(LaunchFailed("ContainerExited", "It ended."))
    kernel.error.log = "a secret of the owner"
    await restarter_of(kernel).poll()
    assert "secret" not in kernel.announced[0]


async def test_the_pauses_of_a_restart_that_has_to_wait_become_longer(monkeypatch):
    monkeypatch.setattr(GatewayKernelRestarter.kernel_manager, "klass", object)
    restarter = GatewayKernelRestarter(kernel_manager=FakeKernel(WAITS))
    loop = asyncio.get_running_loop()
    pauses = []
    for _ in range(7):
        await restarter.poll()
        pauses.append(round(restarter._timer.when() - loop.time()))
    restarter.stop()
    assert pauses == [3, 6, 12, 24, 48, 60, 60]


async def test_a_client_restart_that_has_to_wait_is_tried_again(kernels, monkeypatch):
    kernel = GatewayKernel(parent=kernels)
    kernels._kernels["k"] = kernel
    kernel.kernel_id = "k"
    kernel.kernel_name = "python3"
    begun = []
    monkeypatch.setattr(kernel, "start_restarter", lambda: begun.append("restarter"))

    async def fails(*_args, **_kwargs):
        raise kernel.error

    monkeypatch.setattr(ServerKernelManager, "restart_kernel", fails)
    for kernel.error, state in ((WAITS, "restarting"), (RuntimeError("no room"), "dead")):
        with pytest.raises(type(kernel.error)):
            await kernel.restart_kernel()
        assert kernel.execution_state == state
    assert begun == ["restarter"]
    assert "attached elsewhere" not in kernel.reason


async def test_a_kernel_that_is_gone_is_not_restarted(restarter_of):
    restarter = restarter_of(FakeKernel(KernelGone("gone")))
    await restarter.poll()
    assert restarter.started == 0


async def test_a_kernel_that_is_known_to_live_is_not_polled(monkeypatch):
    monkeypatch.setattr(GatewayKernelRestarter.kernel_manager, "klass", object)
    kernel = FakeKernel()
    kernel.is_known_to_live = kernel.alive = True
    restarter = GatewayKernelRestarter(kernel_manager=kernel, time_to_dead=0.001)
    restarter.stable_start_time = 0
    restarted = asyncio.Event()
    restarter.add_callback(restarted.set)
    restarter.start()
    while restarter._initial_startup:  # noqa: ASYNC110
        await asyncio.sleep(0)
    polls = kernel.polls
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert kernel.polls == polls
    kernel.is_known_to_live = kernel.alive = False
    await within_timeout(restarted.wait())
    restarter.stop()


async def test_more_sockets_are_allowed_than_by_default_of_0mq(kernels):
    assert kernels.context.get(zmq.MAX_SOCKETS) == open_files.max_zmq_sockets()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft > 3 * 1023:
        assert open_files.max_zmq_sockets() > 1023
