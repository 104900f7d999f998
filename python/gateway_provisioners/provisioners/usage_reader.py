"""The usage of one kernel, for all who look at it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import Context

from gateway_provisioners.aio import within
from gateway_provisioners.errors import CommandFailed
from gateway_provisioners.handshake.command_client import CommandEndpoint, ask_usage
from gateway_provisioners.model.usage import Usage

# For so long an answer is good, and a launcher that did not answer is not asked again.
FRESH_SECONDS = 5.0
ANSWER_SECONDS = 1.0

_log = logging.getLogger(__name__)


class UsageReader:
    """Asks the launcher of one kernel for its usage, at most once every 5 seconds.

    Args:
        questions: bounds how many launchers are asked at the same time; the wait for it is part of the
            second that a launcher has for its answer.
        ask: asks a launcher.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        questions: asyncio.Semaphore,
        ask: Callable[[CommandEndpoint], Awaitable[Usage]] = ask_usage,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._questions = questions
        self._ask = ask
        self._clock = clock
        self._asked: CommandEndpoint | None = None
        self._asked_at = 0.0
        self._question: asyncio.Task[None] | None = None
        self._usage: Usage | None = None
        self._complained_about: CommandEndpoint | None = None

    async def read(self, endpoint: CommandEndpoint) -> Usage | None:
        """Return the usage of the kernel of this launcher; None if it did not answer."""
        now = self._clock()
        if endpoint != self._asked or now >= self._asked_at + FRESH_SECONDS:
            self._asked, self._asked_at = endpoint, now
            # Not in the context of a client's request, which would keep its handler.
            self._question = Context().run(asyncio.create_task, self._put_question(endpoint))
        if self._question is not None:
            await asyncio.wait({self._question})  # goes on if this client leaves
        return self._usage

    async def _put_question(self, endpoint: CommandEndpoint) -> None:
        usage = None
        try:
            usage = await within(ANSWER_SECONDS, self._answer(endpoint))
        except (CommandFailed, asyncio.TimeoutError) as error:
            if endpoint != self._complained_about:
                self._complained_about = endpoint
                cause = str(error) or "it did not answer in time"
                _log.info("The usage of kernel %s is not known: %s", endpoint.kernel_id, cause)
        if endpoint == self._asked:  # and the kernel was not restarted meanwhile
            self._usage, self._question = usage, None

    async def _answer(self, endpoint: CommandEndpoint) -> Usage:
        async with self._questions:
            return await self._ask(endpoint)
