"""Waits for the proof that a kernel's messages arrive: what is published before a subscription is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, repeat
from typing import Any

from jupyter_client.manager import KernelManager
from jupyter_client.session import Session

from gateway_provisioners.aio import within

# The pauses after which a kernel is asked again, in case a subscription came too late for its answer. It
# answers within 10 ms.
_PAUSES = (0.05, 0.1, 0.2)
_LONGEST_PAUSE = 0.5
# How long a client of a kernel with a mailbox waits until the gateway knows what the kernel does.
_FOLLOWED_SECONDS = 2.0


class Arrival:
    """Waits until a kernel answers, and its messages arrive at a client's channels and at the gateway.

    Takes the place of jupyter_server's `nudge`, which asks again only after 500 ms, and does not know of
    channels that are replaced. A busy kernel is not waited for.

    Args:
        kernel: the kernel.
        session: signs the requests.
        iopub: returns the client's stream of what the kernel publishes; its first message is dropped.
        timeout: seconds after which `future` raises a TimeoutError.

    Attributes:
        future: done when the messages arrive, or when the kernel is gone or is to be followed elsewhere.
    """

    def __init__(
        self, kernel: KernelManager, session: Session, iopub: Callable[[], Any], timeout: float
    ) -> None:
        self._kernel: Any = kernel
        self._session = session
        self._iopub = iopub
        self._answered = asyncio.Event()
        self._published = asyncio.Event()
        self._replaced = False
        self._asking: asyncio.Task[None] | None = None
        self._stopped = False
        self.future: asyncio.Future[None] = asyncio.ensure_future(within(timeout, self._arrive()))

    async def _arrive(self) -> None:
        while not self._stopped:
            self._replaced = False
            self._answered.clear()
            self._published.clear()
            self._asking = asyncio.create_task(self._ask())
            try:
                await asyncio.wait({self._asking})
            finally:
                self._asking.cancel()  # if this is cancelled itself
            if not self._replaced:
                return

    def begin_again(self) -> None:
        """Ask the kernel again: its channels were replaced."""
        self._replaced = True
        if self._asking is not None:
            self._asking.cancel()

    def stop(self) -> None:
        """Ask the kernel no more: the client has left."""
        self._stopped = True
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self) -> None:
        kernel = self._kernel
        if kernel.execution_state == "busy":
            return
        ports, kernels = list(kernel.ports), kernel.parent
        iopub = self._iopub()

        def published(_message: Any) -> None:
            # The next ones are the client's.
            iopub.stop_on_recv()
            self._published.set()

        channels = [kernel.connect_shell(), kernel.connect_control()]
        try:
            iopub.on_recv(published)
            for channel in channels:
                channel.on_recv(lambda _message: self._answered.set())
            for pause in _pauses():
                if kernel.kernel_id not in kernels or list(kernel.ports) != ports:
                    return
                for channel in channels:
                    self._session.send(channel, "kernel_info_request")
                with suppress(asyncio.TimeoutError):
                    await within(pause, self._has_arrived())
                    return
        finally:
            for channel in channels:
                channel.close()
            if not iopub.closed():
                iopub.stop_on_recv()

    async def _has_arrived(self) -> None:
        await self._answered.wait()
        await self._published.wait()
        await _followed(self._kernel).wait()


async def wait_followed(kernel: KernelManager, session: Session) -> None:
    """Return when the gateway knows what a kernel does that is not busy, or after a few seconds.

    Otherwise a client's first cell could begin before that, and the kernel would count as idle.
    """
    followed = _followed(kernel)
    if followed.is_set():
        return
    channel = kernel.connect_control()
    try:
        with suppress(asyncio.TimeoutError):
            await within(_FOLLOWED_SECONDS, _ask_until(followed, channel, session))
    finally:
        channel.close()


async def _ask_until(event: asyncio.Event, channel: Any, session: Session) -> None:
    for pause in _pauses():
        session.send(channel, "kernel_info_request")
        with suppress(asyncio.TimeoutError):
            await within(pause, event.wait())
            return


def _pauses() -> Iterator[float]:
    return chain(_PAUSES, repeat(_LONGEST_PAUSE))


def _followed(kernel: Any) -> asyncio.Event:
    """Return what is set as soon as the kernel's state is followed; stock kernel managers do not say it."""
    followed: asyncio.Event | None = getattr(kernel, "followed", None)
    if followed is None:
        followed = asyncio.Event()
        followed.set()
    return followed
