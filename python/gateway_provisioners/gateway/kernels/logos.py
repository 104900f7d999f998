"""The logos of kernelspecs: their files, and the check of what is served."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import gateway_provisioners
from gateway_provisioners.gateway.kernels.svg import NotAPicture, check_svg
from gateway_provisioners.model.kernelspec import LANGUAGES, NO_FOLDER

_log = logging.getLogger(__name__)

LOGO = "logo"
"""The key of a kernelspec's `metadata` that names its logo: a language of ours, or CONFIGMAP/KEY."""

_OURS = Path(gateway_provisioners.__file__).parent / "_kernelspecs"
_FILE_NAME = re.compile(r"logo-[\w.-]*\.(?:png|svg|jpe?g|gif|webp|ico)", re.IGNORECASE | re.ASCII)
_CONFIGMAP_KEY = re.compile(
    r"(?P<configmap>[a-z0-9][a-z0-9.-]*)/(?P<key>[\w.-]+\.(?:svg|png))", re.ASCII
)
# What clients look for, by the ending of the operator's file.
_SERVED_AS = {".svg": "logo-svg.svg", ".png": "logo-64x64.png"}
_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_IN_CONFIGMAP = 64 * 1024
_LARGEST_IN_FOLDER = 1024 * 1024
# More logos than a ConfigMap of kernelspecs can name.
_MOST_CHECKED = 10_000


class Spec(Protocol):
    """The parts of a kernelspec that its logo depends on."""

    resource_dir: str
    language: str
    metadata: Mapping[str, object]


class Logos:
    """Finds and reads logos; its methods block.

    Args:
        folder: holds the files of ConfigMaps as CONFIGMAP/KEY; "" without any.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        # By path, the file that was checked, and why it is not served.
        self._checked: dict[Path, tuple[object, str]] = {}

    def names(self, spec: Spec) -> list[str]:
        """Return the names under which the logos of a kernelspec are served."""
        return sorted(self._files(spec))

    def content(self, spec: Spec, name: str) -> bytes | None:
        """Return a logo; None if the kernelspec has none of that name."""
        path = self._files(spec).get(name)
        try:
            return path.read_bytes() if path else None
        except OSError:  # gone since it was found
            return None

    def _files(self, spec: Spec) -> dict[str, Path]:
        if spec.resource_dir != NO_FOLDER:
            files = _files_in(Path(spec.resource_dir))
            return {path.name: path for path in files if self._check(path, _LARGEST_IN_FOLDER)}
        logo = spec.metadata.get(LOGO) or spec.language.lower()
        if logo in LANGUAGES:
            return {"logo-svg.svg": _OURS / str(logo) / "logo-svg.svg"}
        if match := self._folder and _CONFIGMAP_KEY.fullmatch(str(logo)):
            path = Path(self._folder, match["configmap"], match["key"])
            if self._check(path, _LARGEST_IN_CONFIGMAP):
                return {_SERVED_AS[path.suffix]: path}
        return {}

    def _check(self, path: Path, largest: int) -> bool:
        """Return whether a file is served. Check it when it has changed, and log once why it is not."""
        try:
            status = path.stat()
            version: object = (status.st_ino, status.st_size, status.st_mtime_ns)
        except OSError:
            version = None
        before = self._checked.get(path)
        if before is None or before[0] != version:
            if len(self._checked) >= _MOST_CHECKED:
                self._checked.clear()
            self._checked[path] = before = (version, _problem(path, largest))
            if before[1]:
                _log.warning("The logo %s/%s is not served: %s", *path.parts[-2:], before[1])
        return not before[1]


def _files_in(folder: Path) -> list[Path]:
    """Return the logos among a kernelspec's files. A link that leads out of the folder is not one."""
    try:
        root = folder.resolve()
        return [
            path
            for path in folder.iterdir()
            if _FILE_NAME.fullmatch(path.name)
            and path.is_file()
            and path.resolve().is_relative_to(root)
        ]
    except OSError:
        return []


def _problem(path: Path, largest: int) -> str:
    """Return why a file is not served; "" if it is."""
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
        if len(content) > largest:
            return f"it has more than {largest // 1024} KiB"
        if path.suffix.lower() == ".png" and not content.startswith(_PNG):
            return "it is not a PNG (a ConfigMap has pictures other than SVG in `binaryData`)"
        if path.suffix.lower() == ".svg":
            check_svg(content)
    except FileNotFoundError:
        return "the gateway's namespace has no such ConfigMap, or the ConfigMap has no such key"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except NotAPicture as error:
        return str(error)
    return ""
