"""The file beside the connection file that says which kernel of the gateway it is.

The next process with the same connection file restarts that kernel, and the extension of a Jupyter server
reads the steps of its start here.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

_LARGEST = 256 * 1024

# Not what a link names, and no waiting for the writer of a pipe.
_READING = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class StateFile:
    """One kernel's file, readable by its user only.

    Args:
        connection_file: Jupyter's.
    """

    def __init__(self, connection_file: str) -> None:
        self.path = f"{connection_file}.gateway.json"
        self.owner = secrets.token_hex(8)
        self._content: dict[str, Any] = {}

    def update(self, **fields: object) -> None:
        """Change fields, all at once for those who read; a file that cannot be written is done without."""
        self._content.update(version=1, pid=os.getpid(), owner=self.owner, **fields)
        temporary = f"{self.path}.{self.owner}"
        with contextlib.suppress(OSError):
            # Exclusive: another user's file or link of this name is not followed.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w") as file:
                    json.dump(self._content, file)
                os.replace(temporary, self.path)  # noqa: PTH105 - one of os with the others
            except OSError:
                os.unlink(temporary)  # noqa: PTH108

    def remove(self) -> None:
        """Remove the file: the kernel is gone."""
        with contextlib.suppress(OSError):
            Path(self.path).unlink()

    def claim(self) -> dict[str, Any]:
        """Take over what another process left; {} if there is nothing."""
        return claim(self.path)


def read(path: str) -> dict[str, Any]:
    """Return the content of a file; {} unless it is one of this user and of no other."""
    try:
        with os.fdopen(os.open(path, _READING), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or not _is_private(status):
                return {}
            content = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def claim(path: str, owner: str = "") -> dict[str, Any]:
    """Take over a file, so that no other process can; return its content, {} if another was first.

    Args:
        owner: of which it has to be; "": any.
    """
    if owner and read(path).get("owner") != owner:
        return {}
    taken = f"{path}.{secrets.token_hex(8)}"
    try:
        os.replace(path, taken)  # noqa: PTH105
    except OSError:
        return {}
    content = read(taken)
    if owner and content.get("owner") != owner:
        # Another process wrote its own since: that one goes back.
        with contextlib.suppress(OSError):
            os.replace(taken, path)  # noqa: PTH105
        return {}
    with contextlib.suppress(OSError):
        Path(taken).unlink()
    return content


def _is_private(status: os.stat_result) -> bool:
    if os.name != "posix":
        return True
    return status.st_uid == os.getuid() and not status.st_mode & 0o077
