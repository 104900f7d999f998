"""Waiting, retrying and work in the background, for all engines. Knows no Jupyter."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gateway_provisioners.errors import EngineError

Key = TypeVar("Key")
Listener = TypeVar("Listener")
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[object]]

_log = logging.getLogger(__name__)


async def within(seconds: float | None, awaitable: Awaitable[T]) -> T:
    """Return the result of `awaitable`, if it comes in time; None waits without a limit.

    asyncio.wait_for before Python 3.12 loses a cancellation that arrives together with the result, so
    that a loop around it never ends. This one does not.

    Raises:
        asyncio.TimeoutError: it did not come in time; the awaitable is cancelled.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        raise asyncio.TimeoutError
    return task.result()


def call_later(seconds: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
    """Call back after so many seconds, in an empty context.

    The loop keeps a timer's context until its time, even if the timer is cancelled. The context of a request
    has the request's handler, and that its connection.
    """
    return asyncio.get_running_loop().call_later(seconds, callback, *args, context=Context())


class Changes:
    """Lets tasks wait until a condition holds, which is checked again on every change."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Event] = set()

    def changed(self) -> None:
        """Check every condition again."""
        for waiter in self._waiters:
            waiter.set()

    async def until(self, condition: Callable[[], T | None]) -> T:
        """Return the first value other than None that `condition` gives, now or after a change."""
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            while (value := condition()) is None:
                await changed.wait()
                changed.clear()
            return value
        finally:
            self._waiters.discard(changed)

    async def until_final(
        self,
        condition: Callable[[bool], T | None],
        *,
        may_pass: Callable[[], bool],
        grace: float,
    ) -> T:
        """Like `until`, but a state that may pass meets the condition only if it lasts.

        Args:
            condition: called with whether that state counts by now.
            may_pass: returns whether that state is the present one.
            grace: seconds for which it does not count.
        """
        while True:
            await self.until(lambda: condition(not grace) or may_pass() or None)
            if (value := condition(not grace)) is not None:
                return value
            try:
                await within(grace, self.until(lambda: not may_pass() or condition(False) or None))
            except asyncio.TimeoutError:
                if (value := condition(True)) is not None:
                    return value


class Listeners(Generic[Key, Listener]):
    """Functions by the key of what they listen to; the holder calls them."""

    def __init__(self) -> None:
        self._listeners: dict[Key, list[Listener]] = {}

    def add(self, key: Key, listener: Listener) -> Callable[[], None]:
        """Add a listener; returns the function that removes it."""
        self._listeners.setdefault(key, []).append(listener)

        def remove() -> None:
            remaining = self._listeners.get(key, [])
            if listener in remaining:
                remaining.remove(listener)
            if not remaining:
                self._listeners.pop(key, None)

        return remove

    def of(self, key: Key) -> list[Listener]:
        """Return a copy of the listeners, which may remove themselves while they are called."""
        return list(self._listeners.get(key, ()))


@dataclass(frozen=True)
class Backoff:
    """Pauses between attempts, in seconds; each is twice as long as the one before it.

    Attributes:
        jitter: makes half of each pause random, so that many processes do not return at once.
    """

    first: float
    longest: float
    jitter: bool = False

    def pause(self, failures: int) -> float:
        """Return the pause after `failures` failures in a row, at least 1."""
        pause = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return pause * (0.5 + random.random() / 2) if self.jitter else pause  # noqa: S311 - no secret


async def retry(
    what: str,
    attempt: Callable[[], Awaitable[T]],
    backoff: Backoff,
    *,
    is_final: Callable[[EngineError], bool] = lambda _error: False,
) -> T:
    """Repeat an attempt until it raises no EngineError; return its result.

    Args:
        what: the attempt in the log, after "cannot".
        is_final: returns whether an error is raised instead.
    """
    failures = 0
    while True:
        try:
            return await attempt()
        except EngineError as error:
            if is_final(error):
                raise
            failures += 1
            pause = backoff.pause(failures)
            _log.warning("cannot %s: %s; retrying in %.1f s", what, error, pause)
            await asyncio.sleep(pause)  # no event says that the engine is back


class Background:
    """Attempts that are repeated in the background until the engine confirms them."""

    _BACKOFF = Backoff(1, 30)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, what: str, attempt: Callable[[], Awaitable[None]]) -> None:
        """Make `attempt` until it raises no EngineError; `what` names it in the log, after "cannot"."""
        task = asyncio.create_task(retry(what, attempt, self._BACKOFF), name=what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for the attempts under way, for at most 30 seconds, and then cancel them."""
        await _finish(self._tasks, self._BACKOFF.longest)


class KeyedWorker(Generic[Key]):
    """Does work in the background, one task a key; a key that is added meanwhile is worked on once more.

    Work that raises an EngineError is repeated; any other error is logged.

    Args:
        verb: the work in the log, after "cannot" and before the key.
        work: called with the key.
    """

    def __init__(self, verb: str, work: Callable[[Key], Awaitable[None]], backoff: Backoff) -> None:
        self._verb = verb
        self._work = work
        self._backoff = backoff
        self._due: set[Key] = set()
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def add(self, key: Key) -> None:
        """Work on `key` soon."""
        self._due.add(key)
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._run(key), name=f"{self._verb} {key}")

    async def wait(self, key: Key) -> None:
        """Return when no work is due for `key`."""
        if task := self._tasks.get(key):
            await asyncio.wait({task})

    async def finish(self, seconds: float = 0) -> None:
        """Wait at most `seconds` for the work that is due, and then cancel it."""
        await _finish(self._tasks.values(), seconds)

    async def _run(self, key: Key) -> None:
        async def attempt() -> None:
            self._due.discard(key)
            await self._work(key)

        try:
            while key in self._due:
                try:
                    await retry(f"{self._verb} {key}", attempt, self._backoff)
                except Exception:  # noqa: BLE001 - the next change of this key has to be worked on as well
                    _log.exception("cannot %s %s", self._verb, key)
        finally:
            del self._tasks[key]


class Loop:
    """Repeats a step from `start` to `stop`; pauses after one that raises an EngineError.

    Args:
        what: the loop in the log, before "failed".
        pause: waits for a number of seconds.
        first_level: the level of the log for a failure that is the only one within `CALM_SECONDS`.
        clock: seconds that only grow.
    """

    # Failures that follow each other sooner are in a row, even if a step under way has counted as a success.
    CALM_SECONDS = 60.0

    def __init__(
        self,
        what: str,
        step: Callable[[], Awaitable[None]],
        backoff: Backoff,
        *,
        pause: Sleep = asyncio.sleep,
        first_level: int = logging.WARNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._step = step
        self._backoff = backoff
        self._pause = pause
        self._first_level = first_level
        self._clock = clock
        self._failing = False
        self._in_a_row = 0
        self._failed_at = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def failing(self) -> bool:
        """True if the last step failed."""
        return self._failing

    @property
    def running(self) -> bool:
        """True from `start` until `stop`, or until an unforeseen error."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Start it in the running event loop, unless it has been started."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._what)

    async def stop(self) -> None:
        """Cancel the step under way, and take no other."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def wait_until(self, event: asyncio.Event) -> None:
        """Wait for an event that a step sets; raise the unforeseen error that ends the loop before."""
        waiting = asyncio.create_task(event.wait())
        tasks: set[asyncio.Task[Any]] = {waiting} if self._task is None else {waiting, self._task}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._task is not None and self._task.done():
            self._task.result()

    def succeeded(self) -> None:
        """Count the step under way as a success, although it goes on."""
        self._failing = False

    async def _run(self) -> None:
        while True:
            try:
                await self._step()
                self._failing, self._in_a_row = False, 0
            except EngineError as error:
                await self._pause(self._failed(error))

    def _failed(self, error: EngineError) -> float:
        """Log a failure; return the seconds until the next step."""
        now = self._clock()
        if not self._failing and now >= self._failed_at + self.CALM_SECONDS:
            self._in_a_row = 0
        self._failing, self._failed_at = True, now
        self._in_a_row += 1
        pause = self._backoff.pause(self._in_a_row)
        level = self._first_level if self._in_a_row == 1 else logging.WARNING
        _log.log(level, "%s failed: %s; retrying in %.1f s", self._what, error, pause)
        return pause


async def _finish(tasks: Collection[asyncio.Task[None]], seconds: float) -> None:
    """Wait for tasks that remove themselves from `tasks`, and cancel them after `seconds`."""
    if tasks:
        await asyncio.wait(set(tasks), timeout=seconds)
    late = list(tasks)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
