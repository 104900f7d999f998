"""Waiting, retrying, working by key and looping, with pauses of zero seconds."""

import asyncio
import logging

import pytest

from gateway_provisioners.aio import (
    Background,
    Backoff,
    Changes,
    KeyedWorker,
    Listeners,
    Loop,
    retry,
    within,
)
from gateway_provisioners.errors import EngineError

AT_ONCE = Backoff(0, 0)


class Steps:
    """Takes one step a call: raises an error, calls a function, or returns a value."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.taken = []
        self.exhausted = asyncio.Event()

    async def __call__(self, *key):
        if not self.steps:
            self.exhausted.set()
            await asyncio.Event().wait()
        self.taken.append(key)
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step() if callable(step) else step


# within


async def test_a_result_in_time_is_returned():
    assert await within(60, Steps(1)()) == 1
    assert await within(None, Steps(1)()) == 1


async def test_a_late_awaitable_is_cancelled():
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(asyncio.TimeoutError):
        await within(0, never)
    assert never.cancelled()


async def test_the_error_of_the_awaitable_is_raised():
    async def end():
        raise StopAsyncIteration

    with pytest.raises(StopAsyncIteration):
        await within(60, end())


async def test_a_cancellation_that_arrives_with_the_result_counts():
    result = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(within(60, result))
    await asyncio.sleep(0)
    result.set_result(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


# Changes and listeners


async def test_a_condition_is_checked_again_on_each_change():
    changes, values = Changes(), [None, None, 3]
    waiting = asyncio.create_task(changes.until(lambda: values.pop(0)))
    for _ in range(2):
        await asyncio.sleep(0)
        assert not waiting.done()
        changes.changed()
    assert await waiting == 3


class State:
    """A state that may pass; after its grace it is a failure."""

    def __init__(self, changes):
        self.changes = changes
        self.name = "pending"
        self.deleted = False

    def set(self, name):
        self.name = name
        self.changes.changed()

    def failure(self, is_final):
        if self.deleted:
            return "deleted"
        if self.name == "broken" or (self.name == "pending" and is_final):
            return self.name
        return None

    def until_failure(self, grace):
        return asyncio.create_task(
            self.changes.until_final(
                self.failure, may_pass=lambda: self.name == "pending", grace=grace
            )
        )


@pytest.fixture
def state():
    return State(Changes())


async def test_a_state_that_does_not_pass_in_time_counts(state):
    assert await state.until_failure(grace=0) == "pending"
    assert await state.until_failure(grace=1e-9) == "pending"


async def test_a_state_that_passes_in_time_does_not_count(state):
    waiting = state.until_failure(grace=3600)
    await asyncio.sleep(0)
    for name in ("running", "pending", "running"):
        state.set(name)
        await asyncio.sleep(0)
    state.set("broken")
    assert await waiting == "broken"


async def test_another_failure_is_not_kept_waiting_by_the_grace(state):
    waiting = state.until_failure(grace=3600)
    await asyncio.sleep(0)
    state.deleted = True
    state.changes.changed()
    assert await waiting == "deleted"


def test_listeners_may_remove_themselves_while_they_are_called():
    listeners, heard = Listeners(), []
    removers = [listeners.add("a", name) for name in ("first", "second")]
    for listener in listeners.of("a"):
        heard.append(listener)
        removers.pop(0)()
    assert heard == ["first", "second"]
    assert listeners.of("a") == []


# Retrying


def test_pauses_double_up_to_the_longest():
    backoff = Backoff(0.5, 3)
    assert [backoff.pause(failures) for failures in (1, 2, 3, 4, 5000)] == [0.5, 1, 2, 3, 3]


def test_half_of_a_pause_with_jitter_is_random():
    pauses = {Backoff(1, 1, jitter=True).pause(1) for _ in range(50)}
    assert len(pauses) > 1
    assert all(0.5 <= pause <= 1 for pause in pauses)


async def test_an_attempt_is_repeated_until_the_engine_confirms_it(caplog):
    attempt = Steps(EngineError("away"), EngineError("away", status=503), 7)
    assert await retry("remove it", attempt, AT_ONCE) == 7
    assert [record.getMessage() for record in caplog.records] == [
        "cannot remove it: away; retrying in 0.0 s"
    ] * 2


async def test_a_final_error_is_raised():
    with pytest.raises(EngineError, match="forbidden"):
        await retry(
            "list",
            Steps(EngineError("away"), EngineError("forbidden", status=403)),
            AT_ONCE,
            is_final=lambda error: error.status == 403,
        )


async def test_background_attempts_are_finished(monkeypatch):
    monkeypatch.setattr(Background, "_BACKOFF", AT_ONCE)
    background, attempt = Background(), Steps(EngineError("away"), None)
    background.begin("remove a", attempt)
    monkeypatch.setattr(Background, "_BACKOFF", Backoff(1, 30))
    await background.finish()
    assert len(attempt.taken) == 2


# By key


async def test_a_key_that_is_added_meanwhile_is_worked_on_once_more():
    work = Steps(lambda: (worker.add("a"), worker.add("a")), None)
    worker = KeyedWorker("inspect", work, AT_ONCE)
    worker.add("a")
    await worker.wait("a")
    assert work.taken == [("a",), ("a",)]
    await worker.wait("a")


async def test_work_that_the_engine_refuses_is_repeated():
    work = Steps(EngineError("away"), None)
    worker = KeyedWorker("inspect", work, AT_ONCE)
    worker.add("a")
    await worker.finish(60)
    assert work.taken == [("a",), ("a",)]


async def test_an_unforeseen_error_is_logged_and_later_changes_are_worked_on(caplog):
    caplog.set_level(logging.ERROR)
    work = Steps(KeyError("x"), None)
    worker = KeyedWorker("inspect", work, AT_ONCE)
    for _ in range(2):
        worker.add("a")
        await worker.wait("a")
    assert work.taken == [("a",), ("a",)]
    assert "cannot inspect a" in caplog.text


async def test_work_that_takes_too_long_is_cancelled():
    work = Steps()
    worker = KeyedWorker("inspect", work, AT_ONCE)
    worker.add("a")
    await work.exhausted.wait()
    await worker.finish()
    await worker.wait("a")


# Loops


async def test_a_loop_pauses_longer_from_failure_to_failure():
    pauses = []

    async def pause(seconds):
        pauses.append((seconds, loop.failing))

    away = EngineError("away")
    step = Steps(away, away, None, away, lambda: loop.succeeded(), away)  # noqa: PLW0108 - assigned below
    loop = Loop("watch", step, Backoff(1, 10), pause=pause)
    loop.start()
    loop.start()
    await step.exhausted.wait()
    assert pauses == [(1, True), (2, True), (1, True), (1, True)]
    assert loop.running
    await loop.stop()
    assert not loop.running


async def test_only_failures_in_a_row_are_warnings_for_a_loop_that_mends_itself(caplog):
    caplog.set_level(logging.INFO)
    now = 1000.0
    pauses = []

    def works_for(seconds):
        async def step():
            nonlocal now
            loop.succeeded()
            now += seconds
            raise EngineError("broken")

        return step

    async def pause(seconds):
        pauses.append(seconds)

    exhausted = asyncio.Event()

    async def step():
        if not lives:
            exhausted.set()
            await asyncio.Event().wait()
        await lives.pop(0)()

    lives = [works_for(240), works_for(240), works_for(1), works_for(1), works_for(240)]
    loop = Loop(
        "watch", step, Backoff(1, 10), pause=pause, first_level=logging.INFO, clock=lambda: now
    )
    loop.start()
    await exhausted.wait()
    await loop.stop()
    levels = [record.levelname for record in caplog.records]
    assert levels == ["INFO", "INFO", "WARNING", "WARNING", "INFO"]
    assert pauses == [1, 1, 2, 4, 1]


async def test_an_unforeseen_error_ends_a_loop_and_is_raised():
    loop = Loop("watch", Steps(KeyError("x")), AT_ONCE)
    loop.start()
    with pytest.raises(KeyError):
        await loop.wait_until(asyncio.Event())
    assert not loop.running


async def test_an_event_of_a_loop_is_waited_for():
    event = asyncio.Event()
    loop = Loop("watch", Steps(event.set), AT_ONCE)
    loop.start()
    await loop.wait_until(event)
    await loop.stop()
