"""What a later gateway must know of kernels: a folder that nobody else may read, a file a kernel."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway_provisioners.errors import ConfigurationError

Object = dict[str, Any]

_SUFFIX = ".json"


class Records:
    """The records of one instance's kernels, by the name of the workload; without a folder, none.

    They hold keys and the variables of clients. Labels and environments of containers are no place for
    them, since an engine shows those to whoever asks; and what lies in a container its user can change.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    async def open(self) -> None:
        """Make the folder, and make sure that it is ours alone.

        Raises:
            ConfigurationError: that cannot be done.
        """
        await asyncio.to_thread(self._open)

    async def read_all(self) -> dict[str, Object]:
        """All records by name, as {"record": ..., "restarting": ...}; what is none is left out."""
        return await asyncio.to_thread(self._read_all)

    async def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Store a record in one step.

        Raises:
            ConfigurationError: it cannot be written.
        """
        await asyncio.to_thread(self._write, name, {"restarting": False, "record": dict(record)})

    async def mark_restarting(self, name: str) -> None:
        """Have whoever finds the record start its kernel anew, whatever is left of it.

        Raises:
            ConfigurationError: it cannot be written.
        """
        stored = (await self.read_all()).get(name)
        if stored is not None:
            await asyncio.to_thread(self._write, name, {**stored, "restarting": True})

    async def remove(self, name: str) -> None:
        """Forget a record, if there is one."""
        if self._folder is not None:
            await asyncio.to_thread(_path(self._folder, name).unlink, missing_ok=True)

    def _open(self) -> None:
        if self._folder is None:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.stat().st_mode & 0o077:
                self._folder.chmod(0o700)
            for leftover in self._folder.glob(f"*{_SUFFIX}.new"):
                leftover.unlink()
        except OSError as error:
            raise self._unusable(error) from error

    def _read_all(self) -> dict[str, Object]:
        found: dict[str, Object] = {}
        if self._folder is None:
            return found
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            try:
                content = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            if isinstance(content, dict) and isinstance(content.get("record"), dict):
                found[path.name.removesuffix(_SUFFIX)] = content
        return found

    def _write(self, name: str, content: Object) -> None:
        if self._folder is None:
            return
        path = _path(self._folder, name)
        new = path.with_name(f"{path.name}.new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(content, file)
            new.replace(path)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"GP_STATE_DIR: the folder {self._folder} cannot be used ({error.strerror or error}). "
            "It holds what a gateway that starts again has to know of its kernels."
        )


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}{_SUFFIX}"
