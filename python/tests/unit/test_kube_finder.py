"""Look-ups of kernels that the watch has not reported: bounded requests, and no kernel is hidden."""

import asyncio
import uuid

import pytest

from gateway_provisioners.aio import Changes
from gateway_provisioners.errors import ClusterError
from gateway_provisioners.kube import finder as module
from gateway_provisioners.kube.finder import Finder
from gateway_provisioners.kube.pods import KernelPods
from gateway_provisioners.model.quota import KernelQuota


class Server:
    """An API server that answers when the test lets it, and knows the kernels of `existing`."""

    def __init__(self):
        self.asked = []
        self.changes = Changes()
        self.existing = set()
        self.found = set()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.error = None
        self.pauses = []

    async def ask(self, kernel_ids):
        self.asked.append(list(kernel_ids))
        self.changes.changed()
        seen = self.existing & set(kernel_ids)
        await self.may_answer.wait()
        if self.error:
            raise self.error
        self.found |= seen

    async def pause(self, seconds):
        self.pauses.append(seconds)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
async def finder(server):
    finder = Finder(server.ask, pause=server.pause)
    yield finder
    await finder.stop()


async def begun(server, count):
    await server.changes.until(lambda: len(server.asked) >= count or None)


async def test_flood_of_look_ups_is_a_few_requests_with_pauses(server, finder):
    ids = [f"kernel-{number}" for number in range(1000)]
    await asyncio.gather(*(finder.find(each) for each in ids * 3))
    assert [each for together in server.asked for each in together] == ids
    assert len(server.asked) == 1000 / module.MOST_TOGETHER
    assert server.pauses[:9] == [module.PAUSE_SECONDS] * 9


async def test_kernel_that_starts_during_a_request_is_found_by_the_next(server, finder):
    """The one under way does not know it, though it asked for the same kernel."""
    server.may_answer.clear()
    first = asyncio.create_task(finder.find("kernel"))
    await begun(server, 1)
    server.existing.add("kernel")
    second = asyncio.create_task(finder.find("kernel"))
    server.may_answer.set()
    await first
    await second
    assert "kernel" in server.found
    assert server.asked == [["kernel"]] * 2


async def test_error_reaches_all_that_asked_and_no_others(server, finder):
    server.error = ClusterError("no answer in time")
    results = await asyncio.gather(*map(finder.find, "ab"), return_exceptions=True)
    assert results == [server.error] * 2
    server.error = None
    await finder.find("a")


async def test_client_that_leaves_takes_no_other_with_it(server, finder):
    server.may_answer.clear()
    leaving, staying = (asyncio.create_task(finder.find("kernel")) for _ in range(2))
    await begun(server, 1)
    leaving.cancel()
    server.may_answer.set()
    await staying


async def test_look_ups_end_with_the_process(server, finder):
    server.may_answer.clear()
    first = asyncio.create_task(finder.find("a"))
    await begun(server, 1)
    second = asyncio.create_task(finder.find("b"))
    await asyncio.sleep(0)
    await finder.stop()
    await asyncio.wait({first, second})
    assert first.cancelled()
    assert second.cancelled()


@pytest.mark.parametrize(
    "kernel_id", ["kernel", "a-b-c-d-e", "988FE644-3448-48D9-9D9B-99A4FCFB7E15", "a,b)"]
)
async def test_what_is_not_an_id_costs_no_request(kernel_id):
    class Api:
        def collection(self, *_kind_and_namespace, **_selectors):
            return None  # which cannot be listed

    pods = KernelPods(Api(), "kernels", instance="ours", process="a", quota=KernelQuota())
    await pods.find(kernel_id)


async def test_all_kernels_are_asked_for_in_one_selector():
    listed = []

    class Api:
        def collection(self, *_kind_and_namespace, label_selector="", **_selectors):
            self.selector = label_selector
            return self

        async def list(self):
            listed.append(self.selector)
            return [], "1"

    pods = KernelPods(Api(), "kernels", instance="ours", process="a", quota=KernelQuota())
    ids = [str(uuid.uuid4()) for _ in range(3)]
    await asyncio.gather(*map(pods.find, ids))
    assert listed == [f"component=kernel,kernel_id in ({','.join(ids)})"]
    await pods._finder.stop()
