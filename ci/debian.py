"""Install Debian packages, as root and after saying which: for what needs no more than a Debian machine.

That is CLUSTER=local, and a Docker engine where nobody named one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from ci.commands import UserError, run
from ci.progress import step

# What builds images where neither docker nor podman does: program -> package.
IMAGE_TOOLS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}


def install_missing(programs: Mapping[str, str], whose: str = "CLUSTER=local") -> None:
    """Install the packages of the programs that are not on PATH, for ``whose`` sake; say so first.

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
            f"{whose} needs {listed}: as root on Debian they are installed by themselves"
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"Install the Debian packages {listed}"):
        run("apt-get", "update", "--quiet", env=env)
        run("apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *packages, env=env)
