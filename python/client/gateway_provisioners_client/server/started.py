"""The ids of the kernels that Jupyter servers of this user have started, for the next server."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import time
from pathlib import Path

from jupyter_core.paths import jupyter_data_dir

_KERNEL_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?")
_MOST_KERNELS = 1000
# A gateway that has just been started may not list all its kernels yet.
_FORGET_SECONDS = 3600


class StartedKernels:
    """One empty file for each kernel, in a folder for each gateway: several servers can write at once.

    Its methods read and write files, so they run in a thread.
    """

    def __init__(self, url: str) -> None:
        digest = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._folder = (
            Path(jupyter_data_dir()) / "gateway-provisioners-client" / f"started-{digest}"
        )

    def add(self, kernel_id: str) -> None:
        """Remember a kernel; without a writable folder it will be found by its owner, or by hand."""
        if not _KERNEL_ID.fullmatch(kernel_id):
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._folder / kernel_id).touch(mode=0o600)

    def forget(self, kernel_id: str) -> None:
        """Forget a kernel that was shut down."""
        if _KERNEL_ID.fullmatch(kernel_id):
            with contextlib.suppress(OSError):
                (self._folder / kernel_id).unlink()

    def among(self, kernel_ids: set[str]) -> set[str]:
        """Return those of these kernels that are remembered."""
        return {path.name for path in self._files() if path.name in kernel_ids}

    def prune(self, listed: set[str]) -> None:
        """Forget kernels that were started an hour ago or earlier, and are not among those that run."""
        for path in self._files():
            with contextlib.suppress(OSError):
                if path.name not in listed and path.stat().st_mtime < time.time() - _FORGET_SECONDS:
                    path.unlink()

    def _files(self) -> list[Path]:
        try:
            return list(itertools.islice(self._folder.iterdir(), _MOST_KERNELS))
        except OSError:
            return []
