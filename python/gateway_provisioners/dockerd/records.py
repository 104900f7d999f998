"""The records of kernels for a later gateway: a file for each workload, in a folder for this user alone.

They hold keys and clients' variables. Labels and environments of containers must not hold these, since an
engine shows them to all its clients; and users can change what is in a container.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from http import HTTPStatus
from pathlib import Path
from typing import Any

from gateway_provisioners.errors import ConfigurationError, EngineError, ProtocolError
from gateway_provisioners.model.kernel_record import KernelRecord, NewerRecord
from gateway_provisioners.model.recovery import StoredKernel

_SUFFIX = ".json"
_LOCK = ".lock"

_log = logging.getLogger(__name__)


class Records:
    """The stored kernels of one instance, by the name of the workload; without a folder, none.

    They are read once, by `open`: until `close` this process alone has the folder.

    Attributes:
        newer: workloads that a gateway of a later release stored, and the ids of their kernels; their files
            stay as they are.
    """

    def __init__(self, folder: Path | None, *, instance: str) -> None:
        self._folder = folder
        self._instance = instance
        self._stored: dict[str, StoredKernel] = {}
        self.newer: dict[str, str] = {}
        self._lock_fd: int | None = None
        # Of two changes of one file, the later one must be written last.
        self._order = asyncio.Lock()

    @property
    def stored(self) -> Mapping[str, StoredKernel]:
        return self._stored

    async def open(self) -> None:
        """Make the folder, lock it for this process alone, and read it.

        Raises:
            ConfigurationError: that is impossible, another process has it, or another instance's kernels
                are in it.
        """
        if self._folder is not None:
            self._stored = await asyncio.to_thread(self._open, self._folder)

    def close(self) -> None:
        """Leave the folder to another process."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    async def write(self, name: str, record: KernelRecord) -> None:
        """Store a new kernel, or the new workload of a kernel, in one step.

        Raises:
            EngineError: it cannot be written.
        """
        kernel = StoredKernel(record, started=datetime.now(timezone.utc).isoformat())
        for before in self._stored.values():
            if before.record.kernel_id == record.kernel_id:  # it was restarted
                kernel = replace(kernel, started=before.started, last_activity=before.last_activity)
        await self._write(name, kernel)

    async def change(self, name: str, **changes: Any) -> None:
        """Change attributes of a `StoredKernel`, if it is stored.

        Raises:
            EngineError: it cannot be written.
        """
        if name in self._stored:
            await self._write(name, replace(self._stored[name], **changes))

    async def forget(self, name: str) -> None:
        """Delete the record of a workload, if it is stored."""
        if self._folder is not None and self._stored.pop(name, None) is not None:
            path = _path(self._folder, name)
            async with self._order:
                await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _write(self, name: str, kernel: StoredKernel) -> None:
        if self._folder is None:
            return
        self._stored[name] = kernel
        async with self._order:
            if name in self._stored:  # it may have been removed meanwhile
                await asyncio.to_thread(_replace, _path(self._folder, name), self._stored[name])

    def _open(self, folder: Path) -> dict[str, StoredKernel]:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_mode & 0o077:
                folder.chmod(0o700)
            self._lock_fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            msg = f"GP_STATE_DIR: another gateway uses the folder {folder}; each needs one of its own."
            raise ConfigurationError(msg) from error
        except OSError as error:
            self.close()
            msg = f"GP_STATE_DIR: the folder {folder} cannot be used: {error.strerror or error}."
            raise ConfigurationError(msg) from error
        for leftover in folder.glob(f"*{_SUFFIX}.new"):
            leftover.unlink()
        stored = {}
        for path in folder.glob(f"*{_SUFFIX}"):
            name = path.stem
            try:
                stored[name] = StoredKernel.from_json(json.loads(path.read_text()))
            except NewerRecord as error:
                self.newer[name] = error.kernel_id
                _log.warning("Kernel %s in %s is left as it is: %s", error.kernel_id, name, error)
            except (OSError, ValueError, RecursionError, ProtocolError):
                _log.warning("The file %s is not a valid record of a kernel.", path)
        self._become_owner(self._lock_fd, is_empty=not stored and not self.newer)
        return stored

    def _become_owner(self, lock: int, *, is_empty: bool) -> None:
        """Store which instance has the folder: another one would not find the kernels on the engine."""
        owner = os.pread(lock, 4096, 0).decode(errors="replace")
        if owner not in {"", self._instance} and not is_empty:
            self.close()
            msg = (
                f"GP_STATE_DIR: the folder {self._folder} holds kernels of GP_INSTANCE={owner!r}; give "
                f"{self._instance!r} a folder of its own."
            )
            raise ConfigurationError(msg)
        os.ftruncate(lock, 0)
        os.pwrite(lock, self._instance.encode(), 0)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}{_SUFFIX}"


def _replace(path: Path, kernel: StoredKernel) -> None:
    new = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(kernel.to_json(), file)
        new.replace(path)
    except OSError as error:
        msg = f"The kernel cannot be stored in GP_STATE_DIR: {error.strerror or error}."
        raise EngineError(msg, status=HTTPStatus.INSUFFICIENT_STORAGE) from error
