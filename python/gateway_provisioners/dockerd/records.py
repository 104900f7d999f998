"""What a later process must know of kernels: a folder that is this process's alone, a file a kernel.

The records hold keys and the variables of clients. Labels and environments of containers are no place for
them, since an engine shows those to whoever asks; and what lies in a container its user can change.
"""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import json
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.model.names import MAX_LABEL, slug
from gateway_provisioners.model.recovery import KernelRecord

_SUFFIX = ".json"
_UNFINISHED_SUFFIX = ".new"

_log = logging.getLogger(__name__)


class Records:
    """The records of one instance's kernels, from `open` to `close`; without a folder, none are kept.

    What is to be written is written by a thread, in the order in which it was asked for.
    """

    def __init__(self, folder: Path | None, *, instance: str) -> None:
        self._folder = folder
        self._instance = instance
        self._records: dict[str, KernelRecord] = {}
        self._lock: int | None = None
        self._writer: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Take the folder, which is made where there is none, and read what is in it.

        Raises:
            ConfigurationError: it cannot be used, or another process has it.
        """
        if self._folder is not None:
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="records of kernels")
            await self._in_order(partial(self._take, self._folder))

    async def close(self) -> None:
        """Finish what was asked for, and leave the folder to others."""
        if self._writer is not None:
            await asyncio.to_thread(self._writer.shutdown)
            self._writer = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def all(self) -> dict[str, KernelRecord]:
        """All records, by the kernels' ids."""
        return dict(self._records)

    async def remember(self, kernel_id: str, workload: str, content: Mapping[str, Any]) -> None:
        """Store in one step that `workload` is the kernel from now on, and what belongs to it.

        Raises:
            ConfigurationError: it cannot be stored.
        """
        before = self._records.get(kernel_id)
        record = KernelRecord(
            workload=workload,
            content=content,
            started=before.started if before else datetime.now(timezone.utc).isoformat(),
            last_activity=before.last_activity if before else "",
        )
        await self._keep(kernel_id, record)

    async def mark_restarting(self, kernel_id: str) -> None:
        """Have a later process start the kernel anew even if nothing is left of its workload.

        Raises:
            ConfigurationError: it cannot be stored.
        """
        if record := self._records.get(kernel_id):
            await self._keep(kernel_id, dataclasses.replace(record, restarting=True))

    def note(self, kernel_id: str, *, started: str = "", last_activity: str = "") -> None:
        """Store soon when that was, unless it is stored already; "" leaves what is known."""
        record = self._records.get(kernel_id)
        if record is None:
            return
        noted = dataclasses.replace(
            record,
            started=started or record.started,
            last_activity=last_activity or record.last_activity,
        )
        if noted != record:
            self._keep(kernel_id, noted).add_done_callback(_log_failure)

    async def forget(self, kernel_id: str, *, workload: str) -> None:
        """Remove the record of a kernel, if it is this workload."""
        record = self._records.get(kernel_id)
        if record is None or record.workload != workload:
            return
        del self._records[kernel_id]
        try:
            await self._in_order(partial(self._remove, kernel_id))
        except ConfigurationError as error:  # of a kernel that is gone, it does no harm
            _log.warning("%s", error)

    def _keep(self, kernel_id: str, record: KernelRecord) -> asyncio.Future[None]:
        self._records[kernel_id] = record
        return self._in_order(partial(self._write, kernel_id, record.to_json(self._instance)))

    def _in_order(self, step: Callable[[], None]) -> asyncio.Future[None]:
        if self._writer is None:
            nothing = asyncio.get_running_loop().create_future()
            nothing.set_result(None)
            return nothing
        return asyncio.wrap_future(self._writer.submit(self._explained, step))

    # In the thread.

    def _explained(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            msg = (
                f"GP_STATE_DIR: the folder {self._folder} cannot be used: {error.strerror}. It holds "
                "what a gateway that starts again has to know of its kernels."
            )
            raise ConfigurationError(msg) from error

    def _take(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        if os.fstat(self._lock).st_uid != os.geteuid():
            msg = f"GP_STATE_DIR: the folder {folder} belongs to another user. It will hold keys."
            raise ConfigurationError(msg)
        os.fchmod(self._lock, 0o700)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = (
                f"GP_STATE_DIR: another process uses the folder {folder}. End that one first, or give "
                "this one a folder and a GP_INSTANCE of its own."
            )
            raise ConfigurationError(msg) from error
        for unfinished in folder.glob(f"*{_SUFFIX}{_UNFINISHED_SUFFIX}"):
            unfinished.unlink()
        for path in folder.glob(f"*{_SUFFIX}"):
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            record = KernelRecord.from_json(json.loads(path.read_bytes()), self._instance)
        except ValueError as error:
            # Not what a parser says: it may quote the file.
            reason = "it is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
            _log.warning("The record %s is left alone: %s.", path, reason)
            return
        if record is not None:
            self._records[record.content["kernel_id"]] = record

    def _write(self, kernel_id: str, stored: Mapping[str, Any]) -> None:
        path = self._path(kernel_id)
        unfinished = path.with_name(path.name + _UNFINISHED_SUFFIX)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(stored, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)

    def _remove(self, kernel_id: str) -> None:
        self._path(kernel_id).unlink(missing_ok=True)

    def _path(self, kernel_id: str) -> Path:
        assert self._folder is not None  # noqa: S101 - there is no writer without one
        return self._folder / f"{slug(kernel_id, max_length=MAX_LABEL)}{_SUFFIX}"


def _log_failure(written: asyncio.Future[None]) -> None:
    if not written.cancelled() and (error := written.exception()):
        _log.warning("%s", error)
