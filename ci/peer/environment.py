"""The peer's gateway on this host, beside a Docker engine: a Python environment of its own."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from ci.commands import run
from ci.paths import ROOT, cache
from ci.progress import step

_FOLDER = ROOT / "ci/peer"
_REQUIREMENTS = _FOLDER / "docker-requirements.txt"


def ensure() -> Path:
    """Return the folder with its commands; the environment is made now unless the cache has it."""
    made_of = (sys.executable.encode(), _REQUIREMENTS, _FOLDER / "gateway/requirements.txt")
    parts = [part.read_bytes() if isinstance(part, Path) else part for part in made_of]
    folder = cache() / "peer" / hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]
    if not (folder / "made").exists():
        with step("Install the peer's environment"):
            shutil.rmtree(folder, ignore_errors=True)
            uv, python = Path(sys.executable).with_name("uv"), folder / "bin/python"
            run(uv, "venv", "--quiet", "--python", sys.executable, folder)
            run(uv, "pip", "install", "--quiet", "--python", python, "--requirement", _REQUIREMENTS)
            (folder / "made").touch()
    return folder / "bin"
