"""One websocket to a kernel, from its opening to its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp

from gateway_provisioners_client.errors import ClientError
from gateway_provisioners_client.gateway.words import in_one_line

# The gateway lets go of kept output as it is confirmed.
_CONFIRM_SECONDS = 0.05
_CONFIRM_BYTES = 256 * 1024
_CONFIRM_MESSAGES = 64

# Of one text frame: it names at most 1000 requests.
_MOST_TEXT = 1024 * 1024


class LinkBroken(ClientError):
    """The websocket cannot be used any longer; the text says why."""


class Link:
    """Reads a websocket, and writes to it in a task of its own, so that reading never waits for writing.

    Args:
        websocket: that is open.
        on_message: called with each binary frame.
        on_text: called with each object that came as text.
        next_frame: returns the next frame to send, or None for now.
        room: awaited before the next frame is read.
    """

    def __init__(
        self,
        websocket: aiohttp.ClientWebSocketResponse,
        *,
        on_message: Callable[[bytes], None],
        on_text: Callable[[dict[str, Any]], None],
        next_frame: Callable[[], bytes | None],
        room: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._websocket = websocket
        self._on_message = on_message
        self._on_text = on_text
        self._next_frame = next_frame
        self._room = room
        self._wake = asyncio.Event()
        self._texts: list[str] = []
        self._unconfirmed_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._confirms = False
        self._confirmed = 0
        self.received = 0

    async def run(self) -> str:
        """Pass messages on until the websocket ends; return the reason, or "".

        Raises:
            LinkBroken: the gateway sent what makes no sense.
        """
        writing = asyncio.ensure_future(self._write())
        try:
            return await self._read()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, aiohttp.ClientError):
                await writing
            # A gateway that is gone answers no farewell.
            with contextlib.suppress(asyncio.TimeoutError, OSError, aiohttp.ClientError):
                await asyncio.wait_for(self._say_farewell(), 1)

    def wake(self) -> None:
        """Have it ask for the next frame."""
        self._wake.set()

    def say(self, key: str, value: object) -> None:
        """Send an object with one key as text, before the next frame."""
        self._texts.append(json.dumps({key: value}))
        self._wake.set()

    def confirm_received(self) -> None:
        """Report from now on how much has been received."""
        self._confirms = True

    async def _read(self) -> str:
        while True:
            if self._room is not None:
                await self._room()
            message = await self._websocket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                self.received += 1
                self._on_message(message.data)
                self._confirm(len(message.data))
            elif message.type is aiohttp.WSMsgType.TEXT:
                self._on_text(_object(message.data))
            elif message.type is aiohttp.WSMsgType.ERROR:
                return ""
            elif message.type is aiohttp.WSMsgType.CLOSE:
                return in_one_line(message.extra)
            else:
                return ""

    def _confirm(self, size: int) -> None:
        if not self._confirms:
            return
        self._unconfirmed_bytes += size
        messages = self.received - self._confirmed
        if self._unconfirmed_bytes >= _CONFIRM_BYTES or messages >= _CONFIRM_MESSAGES:
            self._confirm_now()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_CONFIRM_SECONDS, self._confirm_now)

    def _confirm_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unconfirmed_bytes = 0
        self._confirmed = self.received
        self.say("received", self.received)

    async def _write(self) -> None:
        try:
            while True:
                self._wake.clear()
                await self._write_texts(self._take_texts())
                frame = self._next_frame()
                if frame is not None:
                    # What next_frame() had to say about it goes first.
                    await self._write_texts(self._take_texts())
                    await self._websocket.send_bytes(frame)
                elif not self._texts:
                    await self._wake.wait()
        except (OSError, aiohttp.ClientError):
            # The reader may wait for a gateway that is gone.
            await self._websocket.close()

    def _take_texts(self) -> list[str]:
        texts, self._texts = self._texts, []
        return texts

    async def _say_farewell(self) -> None:
        if self._confirms and self._confirmed != self.received and not self._websocket.closed:
            # Otherwise this would be given again to the next connection of the session.
            await self._websocket.send_str(json.dumps({"received": self.received}))
        await self._websocket.close()

    async def _write_texts(self, texts: Sequence[str]) -> None:
        for text in texts:
            await self._websocket.send_str(text)


def _object(text: str) -> dict[str, Any]:
    """Return the object of a text frame; {} if it is not one, as other servers may send."""
    if len(text) > _MOST_TEXT:
        raise LinkBroken("The gateway sent a message that is too large.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
