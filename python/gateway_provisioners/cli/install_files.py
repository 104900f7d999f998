"""Install folders and single files atomically: all that the programs of cli/ write to disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway_provisioners.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOT_INSTALLED = (".*", "__pycache__", "*.pyc", "*.md", "tests")


@dataclass(frozen=True)
class NewFile:
    """The content of a file to write, and whether it is executable."""

    content: bytes
    executable: bool = False

    @property
    def mode(self) -> int:
        """The permission bits, whatever the umask of the process."""
        return 0o755 if self.executable else 0o644


def read_folder(folder: Path) -> dict[str, NewFile]:
    """Return every file below `folder` that belongs in an installation, by relative path."""
    files = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        unwanted = any(Path(part).match(glob) for part in relative.parts for glob in _NOT_INSTALLED)
        if path.is_file() and not unwanted:
            files[str(relative)] = read_file(path)
    return files


def read_file(path: Path) -> NewFile:
    """Return the file's content and whether it is executable."""
    return NewFile(path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))


def check_writable(folder: Path) -> None:
    """Check that `folder` is writable, or can be created.

    Raises:
        ConfigurationError: it is not.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        reason = "cannot be written to" if existing.is_dir() else "is not a folder"
        raise ConfigurationError(
            f"Cannot write {folder}: {existing} {reason}."
            " Choose another folder, or do this as a user who may write there."
        )


def install_folder(folder: Path, files: Mapping[str, NewFile]) -> None:
    """Make `folder` contain exactly `files`, replacing its old content.

    The new folder is complete before it gets its name; if that fails, the old one is put back.

    Raises:
        ConfigurationError: the folder cannot be written; nothing has changed.
    """
    with _staging(folder) as staging:
        new, old = staging / folder.name, staging / f"{folder.name}.old"
        _make_folder(new)
        for relative, file in files.items():
            for parent in reversed(Path(relative).parents[:-1]):
                _make_folder(new / parent)
            _write(new / relative, file)
        if not folder.exists():
            new.rename(folder)
            return
        # shutil.move, since overlayfs cannot rename a folder of a lower image layer
        shutil.move(folder, old)
        try:
            new.rename(folder)
        except OSError:
            shutil.move(old, folder)
            raise


def install_file(path: Path, file: NewFile) -> None:
    """Write one file under its final name in one step, replacing an old one.

    Raises:
        ConfigurationError: the file cannot be written; nothing has changed.
    """
    with _staging(path) as staging:
        _write(staging / path.name, file)
        (staging / path.name).replace(path)


@contextmanager
def _staging(destination: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `destination`, on the same file system.

    Its content is one level deeper than `destination`, so that no search for kernelspecs finds it.
    """
    try:
        for parent in reversed(destination.parents):
            if not parent.exists():
                _make_folder(parent)
        with tempfile.TemporaryDirectory(prefix=".installing-", dir=destination.parent) as staging:
            yield Path(staging)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot write {destination}: {error.strerror or error}."
            " Choose another folder, or do this as a user who may write there."
        ) from error


def _make_folder(path: Path) -> None:
    path.mkdir(exist_ok=True)
    path.chmod(0o755)


def _write(path: Path, file: NewFile) -> None:
    path.write_bytes(file.content)
    path.chmod(file.mode)
