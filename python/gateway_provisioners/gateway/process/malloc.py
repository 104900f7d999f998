"""The C library's memory allocator, which by default keeps much of what was freed."""

from __future__ import annotations

import ctypes
import os

# mallopt(3). By default, freeing a large block raises the threshold to its size, up to 32 MiB: later blocks
# of that size come from arenas, which do not shrink. And each thread, as 0MQ's own, may have arenas.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_MMAP_BYTES = 256 * 1024
_ARENAS = 2


def return_freed_memory() -> None:
    """Have large blocks returned to the system when they are freed; MALLOC_* variables come first."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # not glibc
        return
    for variable, parameter, value in (
        ("MALLOC_MMAP_THRESHOLD_", _M_MMAP_THRESHOLD, _MMAP_BYTES),
        ("MALLOC_ARENA_MAX", _M_ARENA_MAX, _ARENAS),
    ):
        if variable not in os.environ:
            mallopt(parameter, value)
