"""The watch of the client that started this program, as ipykernel does it."""

from __future__ import annotations

import asyncio
import os
import sys

_POLL_SECONDS = 1.0


async def parent_gone() -> None:
    """Return once the client that started this program is gone; never if it may go without ending it."""
    try:
        parent = int(os.environ.get("JPY_PARENT_PID", ""))
    except ValueError:
        parent = 0
    if parent <= 0:
        await asyncio.Event().wait()
    elif sys.platform == "win32":
        await _wait_for_handle(parent)
    else:
        is_gone = _has_lost if os.getppid() == parent else _is_gone
        # Unix has no event for the end of a parent that all its kinds know.
        while not is_gone(parent):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)


def _has_lost(parent: int) -> bool:
    """Return whether this process has another parent than before, which also holds if that is a zombie."""
    return os.getppid() != parent


def _is_gone(client: int) -> bool:
    """Return whether a client has ended that is not the parent, or was not when first asked for."""
    if os.getppid() == 1:
        return True
    try:
        os.kill(client, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it is of another user
    return False


async def _wait_for_handle(handle: int) -> None:
    """Wait for the end of the process with an inherited handle of Windows, in a thread."""
    import threading
    from _winapi import INFINITE, WaitForSingleObject  # type: ignore[attr-defined]

    loop = asyncio.get_running_loop()
    gone = asyncio.Event()

    def wait() -> None:
        WaitForSingleObject(handle, INFINITE)
        loop.call_soon_threadsafe(gone.set)

    threading.Thread(target=wait, daemon=True).start()
    await gone.wait()
