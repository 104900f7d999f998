"""The answers to kernel_info requests while the kernel starts: those of its last start."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir

from gateway_provisioners_client._version import __version__

_FOLDER = "gateway_provisioners_client"
_LARGEST = 256 * 1024


class InfoCache:
    """The words of a kernelspec's kernels about themselves, kept for this user.

    Args:
        url: of the gateway.
        name: of the kernelspec there.
    """

    def __init__(self, url: str, name: str) -> None:
        digest = hashlib.sha256(f"{url}\n{name}".encode()).hexdigest()[:32]
        self._folder = Path(jupyter_data_dir()) / _FOLDER
        self._path = self._folder / f"kernel-info-{digest}.json"
        self.content: dict[str, Any] = _read(self._path)

    def keep(self, content: bytes) -> None:
        """Keep the content of a kernel's reply for the next start."""
        value = _info_of(content)
        if not value or value == self.content:
            return
        self.content = value
        temporary = self._path.with_name(f"{self._path.name}.{secrets.token_hex(8)}")
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            temporary.replace(self._path)


def without_kernel(banner: str) -> dict[str, Any]:
    """Return an answer for a kernel that did not start, so that clients come to its reason."""
    return {
        "status": "ok",
        "protocol_version": "5.3",
        "implementation": "gateway-provisioners-client",
        "implementation_version": __version__,
        "language_info": {
            "name": "text",
            "version": "",
            "mimetype": "text/plain",
            "file_extension": ".txt",
        },
        "banner": banner,
        "help_links": [],
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return _info_of(file.read(_LARGEST + 1))
    except OSError:
        return {}


def _info_of(content: bytes) -> dict[str, Any]:
    """Return the content of a reply; {} if clients could not use it."""
    if len(content) > _LARGEST:
        return {}
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict) or value.get("status", "ok") != "ok":
        return {}
    known = isinstance(value.get("language_info"), dict) and value.get("protocol_version")
    return value if known else {}
