"""Values that are read from files: changes during a read, and files that cannot be read in time."""

import asyncio
import threading

from identity_issuer import Clock

from gateway_provisioners.gateway.identity import reloaded as module
from gateway_provisioners.gateway.identity.reloaded import Reloaded
from timeouts import TIMEOUT_SECONDS, within_timeout


class Files:
    """Files with a version, which `value` takes from them."""

    def __init__(self):
        self.version = 1
        self.reads = 0
        self.during_read = lambda: None
        self.clock = Clock(0.0)
        self.value = Reloaded(lambda: self.version, self.read, self.clock)

    def read(self):
        self.reads += 1
        version = self.version
        self.during_read()
        return version

    def change(self):
        self.version += 1


async def test_files_that_change_during_a_read_are_read_again():
    files = Files()
    files.change()
    files.clock.now += 1

    def change_once():
        files.during_read = lambda: None
        files.change()

    files.during_read = change_once
    await within_timeout(files.value.refresh())
    assert files.value.value == files.version == 3


async def test_files_that_change_all_the_time_do_not_keep_requests_waiting():
    files = Files()
    files.change()
    files.clock.now += 1
    files.during_read = files.change
    await within_timeout(files.value.refresh())
    files.during_read = lambda: None
    files.clock.now += 1
    await within_timeout(files.value.refresh())
    assert files.value.value == files.version


async def test_requests_at_the_same_time_share_one_look():
    files = Files()
    files.change()
    files.clock.now += 1
    await within_timeout(asyncio.gather(*(files.value.refresh() for _ in range(20))))
    assert (files.value.value, files.reads) == (2, 2)


async def test_files_that_hang_leave_the_previous_value(monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_SECONDS", 0)
    files = Files()
    files.change()
    files.clock.now += 1
    back = threading.Event()
    files.during_read = lambda: back.wait(TIMEOUT_SECONDS)
    await within_timeout(files.value.refresh())
    assert files.value.value == 1
    looking = files.value._task
    back.set()
    await within_timeout(looking)
    assert files.value.value == 2
