"""The container of one kernel: the cause of its end, which may come after its exit code."""

import asyncio

import pytest

from gateway_provisioners.dockerd.launched_container import REMOVED, LaunchedContainer
from gateway_provisioners.model.container import status


class Kernels:
    """An engine with one container, in the state that it reported last."""

    exit_code = staticmethod(status.exit_code)
    end_cause = staticmethod(status.end_cause)

    def __init__(self):
        self.known = None

    def state(self, _name):
        return self.known

    def subscribe(self, _name, listener):
        self._listener = listener
        return lambda: None

    def remove_soon(self, _name, *, grace_seconds): ...

    def report(self, state):
        self.known = state and {"State": state, "HostConfig": {"Memory": 200 * 2**20}}
        self._listener()


@pytest.fixture
def kernels():
    return Kernels()


def launched(kernels):
    container = LaunchedContainer(kernels, "c")
    kernels.report({"Status": "running"})
    return container


async def test_a_container_that_exits_explains_itself(kernels):
    container = launched(kernels)
    kernels.report({"Status": "exited", "ExitCode": 3})
    await container.wait_end_explained()
    assert (container.exit_code(), container.end_cause()) == (3, None)


async def test_a_container_is_killed_before_it_is_removed(kernels):
    container = launched(kernels)
    kernels.report({"Status": "exited", "ExitCode": 137})
    explained = asyncio.ensure_future(container.wait_end_explained())
    await asyncio.sleep(0)
    assert not explained.done()
    kernels.report(None)
    await explained
    assert container.end_cause() == REMOVED


async def test_the_first_cause_stays(kernels):
    container = launched(kernels)
    kernels.report({"Status": "exited", "ExitCode": 137, "OOMKilled": True})
    await container.wait_end_explained()
    kernels.report(None)
    assert "more memory than its limit of 200Mi" in container.end_cause()


async def test_the_end_that_this_gateway_causes_has_no_cause(kernels):
    container = launched(kernels)
    await container.stop()
    kernels.report({"Status": "exited", "ExitCode": 137})
    await container.wait_end_explained()
    kernels.report(None)
    assert (container.exit_code(), container.end_cause()) == (137, None)
