"""The warning of a kernel that is about to run out of memory."""

import asyncio
import math

import pytest

from gateway_provisioners.gateway.kernels.memory_watch import MemoryWatch, warning
from gateway_provisioners.model.usage import Usage
from timeouts import within_timeout

GI = 2**30


class FakeKernel:
    """A kernel that uses what the test says."""

    kernel_id = "a-kernel"
    memory_advice = "For more memory, ask the administrator."

    def __init__(self, share=0.0):
        self.workload_name = "pod-1"
        self.share = share
        self.questions = 0
        self.announced = []

    async def usage(self):
        self.questions += 1
        return (
            None if self.share is None else Usage(math.ceil(self.share * 2 * GI), 2 * GI, 1.0, None)
        )

    def announce(self, text):
        self.announced.append(text)


async def test_a_warning_is_given_once_at_95_percent():
    kernel = FakeKernel(0.94)
    watch = MemoryWatch(lambda: [kernel])
    await watch.look()
    assert kernel.announced == []
    kernel.share = 0.95
    await watch.look()
    assert kernel.announced == [
        warning(Usage(math.ceil(0.95 * 2 * GI), 2 * GI, None, None))
        + " For more memory, ask the administrator."
    ]
    kernel.share = 0.99
    await watch.look()
    assert len(kernel.announced) == 1
    assert kernel.questions == 2


async def test_a_restart_allows_another_warning():
    kernel = FakeKernel(0.97)
    watch = MemoryWatch(lambda: [kernel])
    await watch.look()
    kernel.workload_name = "pod-2"
    await watch.look()
    assert len(kernel.announced) == 2


async def test_the_usage_of_a_kernel_that_was_restarted_meanwhile_is_ignored():
    kernel = FakeKernel(1.0)

    async def usage():
        kernel.workload_name = "pod-2"
        return Usage(GI, GI, 1.0, None)

    kernel.usage = usage
    await MemoryWatch(lambda: [kernel]).look()
    assert kernel.announced == []


async def test_kernels_that_do_not_answer_or_fail_delay_no_warning(caplog):
    silent, broken, full = FakeKernel(None), FakeKernel(), FakeKernel(1.0)

    async def usage():
        raise RuntimeError("broken")

    broken.usage = usage
    await MemoryWatch(lambda: [silent, broken, full]).look()
    assert len(full.announced) == 1
    assert silent.announced == []
    assert "The memory of kernel a-kernel cannot be watched" in caplog.text


async def test_few_of_a_thousand_kernels_are_asked_at_once():
    asked, most, go_on = 0, 0, asyncio.Event()

    class Slow(FakeKernel):
        async def usage(self):
            nonlocal asked, most
            asked += 1
            most = max(most, asked)
            if asked == 16:
                go_on.set()
            await go_on.wait()
            asked -= 1
            return await super().usage()

    kernels = [Slow() for _ in range(1000)]
    await within_timeout(MemoryWatch(lambda: kernels).look())
    assert most == 16
    assert {kernel.questions for kernel in kernels} == {1}


@pytest.mark.parametrize(
    ("used", "limit", "words"),
    [
        (math.ceil(1.9 * GI), 2 * GI, "1.9 GiB of the 2 GiB of memory that it may use (95%). If"),
        (980 * 2**20, GI, "980 MiB of the 1 GiB of memory that it may use (96%)"),
        (int(3.89 * GI), 4 * GI, "3.89 GiB of the 4 GiB of memory that it may use (97%)"),
        (190 * 2**20, 200 * 2**20, "190 MiB of the 200 MiB of memory that it may use (95%)"),
    ],
)
def test_amounts_in_words(used, limit, words):
    assert words in warning(Usage(used, limit, None, None))
