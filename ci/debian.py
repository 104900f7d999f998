"""Install Debian packages, as root and after saying which: only for CLUSTER=local, which owns its machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from ci.commands import UserError, run
from ci.progress import step

# What builds images where neither docker nor podman does: program -> package.
IMAGE_TOOLS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}


def install_missing(programs: Mapping[str, str]) -> None:
    """Install the packages of the programs that are not on PATH; say so first.

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
            f"CLUSTER=local needs {listed}: as root on Debian they are installed by themselves"
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"Install the Debian packages {listed}"):
        run("apt-get", "update", "--quiet", env=env)
        run("apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *packages, env=env)
