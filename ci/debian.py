"""Debian packages that CLUSTER=local needs, and the engines of tests where ENGINE_HOST is not set.

They are installed as root, after they have been named.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ci.commands import UserError, run
from ci.paths import cache
from ci.progress import step

# For builds where there is neither docker nor podman: program -> package.
IMAGE_TOOLS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}


def install_missing(programs: Mapping[str, str], needed_by: str = "CLUSTER=local") -> None:
    """Install the packages of the programs that are not on PATH, which ``needed_by`` needs; name them first.

    Raises UserError where that cannot be done, naming the packages.
    """
    packages = sorted(
        {package for program, package in programs.items() if not shutil.which(program)}
    )
    if not packages:
        return
    listed = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise UserError(
            f"{needed_by} needs the packages {listed}; as root on Debian they are installed automatically"
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"Install the Debian packages {listed}"):
        run("apt-get", "update", "--quiet", env=env)
        run("apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *packages, env=env)


def unpacked(packages: Sequence[str]) -> Path:
    """Return a folder that holds packages and their missing dependencies, without installing them.

    For podman: an installed one would be taken for the user's choice of a builder. Packages that are
    installed already are not in the folder. Raises CommandError when apt cannot get them.
    """
    arguments = ("install", "--quiet", "--quiet", "--yes", "--no-install-recommends")
    listing = ("apt-get", *arguments, "--print-uris", *packages)
    # The listing has the file and version of each package, so that newer ones get another folder.
    folder = cache() / f"debian/{packages[0]}-{_hash(run(*listing))}"
    if folder.exists():
        return folder
    with step(f"Unpack the Debian packages {' '.join(packages)}"):
        run("apt-get", "update", "--quiet")
        folder = folder.with_name(f"{packages[0]}-{_hash(run(*listing))}")
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        archives = partial / "archives"
        (archives / "partial").mkdir(parents=True)
        options = ("--download-only", f"--option=Dir::Cache::archives={archives}")
        run("apt-get", *arguments, *options, *packages)
        for archive in archives.glob("*.deb"):
            run("dpkg-deb", "--extract", archive, partial)
        shutil.rmtree(archives)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return folder


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
