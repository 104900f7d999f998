"""A launcher is asked for its kernel's usage rarely, and never keeps a client waiting for long."""

import asyncio
from dataclasses import replace

import pytest

from fake_clock import Clock
from gateway_provisioners.errors import CommandFailed
from gateway_provisioners.handshake.command_client import CommandEndpoint
from gateway_provisioners.model.usage import Usage
from gateway_provisioners.provisioners import usage_reader
from gateway_provisioners.provisioners.usage_reader import FRESH_SECONDS, UsageReader
from timeouts import within_timeout

ENDPOINT = CommandEndpoint("10.0.0.7", 5000, "a-kernel", "k3y")


class Launcher:
    """Answers when the test lets it, with another usage each time."""

    def __init__(self):
        self.questions = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.was_asked = asyncio.Event()
        self.error = None

    async def ask(self, _endpoint):
        self.questions += 1
        self.was_asked.set()
        number = self.questions
        await self.answers.wait()
        if self.error:
            raise self.error
        return Usage(number, None, 0.0, None)


def reader_of(launcher, clock=None, questions=None):
    return UsageReader(questions or asyncio.Semaphore(1), launcher.ask, clock or Clock())


async def test_a_thousand_clients_put_one_question():
    launcher = Launcher()
    launcher.answers.clear()
    reader = reader_of(launcher)
    waiting = [asyncio.create_task(reader.read(ENDPOINT)) for _ in range(1000)]
    await within_timeout(launcher.was_asked.wait())
    launcher.answers.set()
    answers = await within_timeout(asyncio.gather(*waiting))
    assert {usage.memory for usage in answers} == {1}
    assert launcher.questions == 1


async def test_an_answer_is_good_for_five_seconds():
    launcher, clock = Launcher(), Clock()
    reader = reader_of(launcher, clock)
    assert (await reader.read(ENDPOINT)).memory == 1
    clock.now += FRESH_SECONDS - 0.01
    assert (await reader.read(ENDPOINT)).memory == 1
    clock.now += 0.01
    assert (await reader.read(ENDPOINT)).memory == 2


async def test_another_process_of_the_kernel_is_asked_at_once():
    launcher = Launcher()
    reader = reader_of(launcher)
    await reader.read(ENDPOINT)
    assert (await reader.read(replace(ENDPOINT, port=5001))).memory == 2


async def test_an_answer_of_the_process_before_a_restart_is_dropped():
    launcher = Launcher()
    launcher.answers.clear()
    reader = reader_of(launcher, questions=asyncio.Semaphore(2))
    first = asyncio.create_task(reader.read(ENDPOINT))
    await within_timeout(launcher.was_asked.wait())
    launcher.was_asked.clear()
    second = asyncio.create_task(reader.read(replace(ENDPOINT, port=5001)))
    await within_timeout(launcher.was_asked.wait())
    launcher.answers.set()
    await within_timeout(first)
    assert (await within_timeout(second)).memory == 2


async def test_a_client_that_leaves_takes_no_answer_from_others():
    launcher = Launcher()
    launcher.answers.clear()
    reader = reader_of(launcher)
    leaving, staying = (asyncio.create_task(reader.read(ENDPOINT)) for _ in range(2))
    await within_timeout(launcher.was_asked.wait())
    leaving.cancel()
    launcher.answers.set()
    assert (await within_timeout(staying)).memory == 1


async def test_a_launcher_that_refuses_is_not_asked_again_soon(caplog):
    caplog.set_level("INFO")
    launcher, clock = Launcher(), Clock()
    launcher.error = CommandFailed("it cannot be reached")
    reader = reader_of(launcher, clock)
    assert await reader.read(ENDPOINT) is None
    assert await reader.read(ENDPOINT) is None
    assert launcher.questions == 1
    clock.now += FRESH_SECONDS
    assert await reader.read(ENDPOINT) is None
    assert caplog.text.count("it cannot be reached") == 1
    launcher.error = None
    clock.now += FRESH_SECONDS
    assert (await reader.read(ENDPOINT)).memory == 3


@pytest.mark.parametrize("free", [0, 1])
async def test_the_wait_for_an_answer_is_bounded(monkeypatch, free, caplog):
    """Also where too many other launchers are being asked."""
    monkeypatch.setattr(usage_reader, "ANSWER_SECONDS", 0.01)
    caplog.set_level("INFO")
    launcher = Launcher()
    launcher.answers.clear()
    reader = reader_of(launcher, questions=asyncio.Semaphore(free))
    assert await within_timeout(reader.read(ENDPOINT)) is None
    assert launcher.questions == free
    assert "The usage of kernel a-kernel is not known: it did not answer in time" in caplog.text
