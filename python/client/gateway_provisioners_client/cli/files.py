"""The folders of kernelspecs on this machine: where they go, what is there, and how they are written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.paths import jupyter_data_dir

from gateway_provisioners_client.cli.contents import Origin, origin_of
from gateway_provisioners_client.errors import ConfigurationError

_LARGEST = 1024 * 1024


@dataclass(frozen=True)
class Installed:
    """A kernelspec that `jupyter gateway-spec install` made."""

    name: str
    folder: Path
    origin: Origin


def folder_for(*, prefix: str, sys_prefix: bool) -> Path:
    """Return the folder of kernelspecs: the user's, or that of an installation."""
    if prefix or sys_prefix:
        return Path(prefix or sys.prefix).expanduser().absolute() / "share" / "jupyter" / "kernels"
    return Path(jupyter_data_dir()) / "kernels"


def all_names() -> set[str]:
    """Return the names of all kernelspecs that Jupyter finds here, ours and others."""
    return {name.lower() for name in KernelSpecManager().find_kernel_specs()}


def installed() -> list[Installed]:
    """Return the kernelspecs of gateways that Jupyter finds, by name."""
    found = KernelSpecManager().find_kernel_specs()
    specs = (look(Path(folder)) for _, folder in sorted(found.items()))
    return [spec for spec in specs if spec]


def look(folder: Path) -> Installed | None:
    """Return the kernelspec in a folder, if `jupyter gateway-spec` made it."""
    try:
        with (folder / "kernel.json").open("rb") as file:
            origin = origin_of(file.read(_LARGEST))
    except OSError:
        return None
    return Installed(folder.name, folder, origin) if origin else None


def write(
    folder: Path, spec: Mapping[str, Any], logos: Mapping[str, bytes], *, private: bool
) -> None:
    """Write a kernelspec, in place of what is there: its folder is complete before it gets its name.

    Args:
        logos: content by file name.
        private: whether only the user may read it.

    Raises:
        ConfigurationError: it cannot be written; nothing has changed.
    """
    text = json.dumps(spec, indent=1, ensure_ascii=False) + "\n"
    files = {"kernel.json": text.encode(), **logos}
    with _explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".installing-", dir=folder.parent) as staging:
            new, old = Path(staging) / "new", Path(staging) / "old"
            new.mkdir()
            for name, content in files.items():
                (new / name).write_bytes(content)
                (new / name).chmod(0o600 if private else 0o644)
            new.chmod(0o700 if private else 0o755)
            if folder.exists():
                folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise


def remove(spec: Installed) -> None:
    """Remove a kernelspec.

    Raises:
        ConfigurationError: it cannot be removed.
    """
    with _explained(spec.folder):
        if spec.folder.is_symlink():
            spec.folder.unlink()
        else:
            shutil.rmtree(spec.folder)


def check_writable(folder: Path) -> None:
    """Check that a folder is writable, or can be made, before the gateway is asked.

    Raises:
        ConfigurationError: it is not.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise _cannot_write(folder, "it is not a folder that you may write to")


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _cannot_write(folder, error.strerror or str(error)) from error


def _cannot_write(folder: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"Cannot write {folder}: {reason}. Choose another folder with --user, --sys-prefix or --prefix."
    )
