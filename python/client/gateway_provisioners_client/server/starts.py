"""The starts of a server's kernels, for those who watch them: the JupyterLab extension."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gateway_provisioners_client.gateway.progress import ProgressStep
from gateway_provisioners_client.gateway.words import clean, in_one_line
from gateway_provisioners_client.server.help import help_for

if TYPE_CHECKING:
    from gateway_provisioners_client.gateway.api import GatewayApi

# Of ended starts as well, for a watcher that was away for a moment.
_MOST_EVENTS = 100
_MOST_AT_ONCE = 1000
_FOLLOW_SECONDS = 0.2
# With this heading the gateway's messages end: errors.py of the gateway.
_LOG_HEADING = "The last lines of its log:"

Event = tuple[int, dict[str, Any]]


class Start:
    """One start or restart of a kernel, from its beginning to its end."""

    def __init__(self, starts: Starts, kernel_id: str, name: str, path: str, gateway: str) -> None:
        self._starts = starts
        self._fields = {"id": kernel_id, "name": name, "gateway": gateway}
        if path:
            self._fields["path"] = path
        self.has_ended = False

    def step(self, step: ProgressStep) -> None:
        """Show a step; the last one comes with the answer to the start, which says more."""
        if not step.ready and not step.failed:
            self._publish(
                phase=step.phase, message=step.message, seconds=step.seconds, reason=step.reason
            )

    def ready(self) -> None:
        """Show that the kernel is up."""
        if not self.has_ended:
            self.has_ended = True
            self._publish(phase="ready", message="The kernel is up.", ready=True)

    def failed(self, reason: str, message: str) -> None:
        """Show that the start has failed.

        Args:
            reason: the gateway's word for it, or "".
            message: with the last lines of the kernel's log, if there are any.
        """
        if self.has_ended:
            return
        self.has_ended = True
        words, _, log = clean(message).partition(_LOG_HEADING)
        self._publish(
            phase="failed",
            message=words.strip(),
            failed=True,
            reason=in_one_line(reason, 64),
            log=log.strip("\n").splitlines(),
            help=help_for(reason),
        )

    def _publish(self, **fields: Any) -> None:
        event = {
            "ready": False,
            "failed": False,
            "seconds": None,
            "reason": "",
            **self._fields,
            **fields,
        }
        self._starts.publish(event)


class Starts:
    """The events of all starts, numbered; the newest ones are kept."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._under_way: dict[str, Event] = {}
        self._number = 0
        self._changed = asyncio.Event()

    def publish(self, event: dict[str, Any]) -> None:
        """Add an event, and wake those who wait for one."""
        self._number += 1
        numbered = (self._number, event)
        self._events.append(numbered)
        self._under_way.pop(event["id"], None)
        if not event["ready"] and not event["failed"] and len(self._under_way) < _MOST_AT_ONCE:
            self._under_way[event["id"]] = numbered
        self._changed.set()
        self._changed = asyncio.Event()

    def under_way(self) -> list[Event]:
        """Return the present step of each start that has not ended, oldest first."""
        return sorted(self._under_way.values(), key=lambda event: event[0])

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._number

    def after(self, number: int) -> list[Event]:
        """Return the events since the one with this number."""
        return [event for event in self._events if event[0] > number]

    async def wait(self, number: int, seconds: float) -> None:
        """Wait for an event after this one, at most for so long."""
        changed = self._changed
        if number >= self._number:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(changed.wait(), seconds)

    @contextlib.contextmanager
    def following(self, api: GatewayApi, kernel_id: str, name: str, path: str) -> Iterator[Start]:
        """Show the steps of a start at the gateway, for the length of the block.

        The block says how it ended; one that says nothing has been given up.
        """
        start = Start(self, kernel_id, in_one_line(name), path, api.config.name)
        start.step(ProgressStep("requested", "The gateway is asked for the kernel.", 0.0))
        following = asyncio.ensure_future(_follow(api, kernel_id, start))
        try:
            yield start
        finally:
            following.cancel()
            start.failed("", "The start was given up.")


async def _follow(api: GatewayApi, kernel_id: str, start: Start) -> None:
    # The start itself should arrive first.
    await asyncio.sleep(_FOLLOW_SECONDS)
    async for step in api.progress(kernel_id):
        start.step(step)
