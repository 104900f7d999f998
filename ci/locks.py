"""Locks between processes: files in the cache, which the system unlocks when a process ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from ci.paths import cache
from ci.progress import step


@contextmanager
def one_process_at_a_time(name: str, waiting_for: str) -> Iterator[None]:
    """Let one process at a time into the block.

    Args:
        name: the lock's file in the cache, without a suffix.
        waiting_for: the step that is shown while another process is in it.
    """
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step(f"Wait for another process that {waiting_for}"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
