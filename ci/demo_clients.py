"""The end of the demo: its kernels as kernelspecs, in a JupyterLab of this checkout's environment."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def _kernelspecs(folder: Path) -> Path:
    """Return the prefix of the demo's kernelspecs, which are for no other Jupyter of the user."""
    return folder / "jupyter"


def jupyterlab_line(gateway_url: str, folder: Path, notebook: Path) -> str:
    """Return the line that installs the gateway's kernels as kernelspecs and starts JupyterLab.

    It works in any folder of any POSIX shell in which JUPYTER_GATEWAY_AUTH_TOKEN is exported.

    Args:
        folder: the demo's own, below which the kernelspecs go.
        notebook: what JupyterLab opens.
    """
    prefix = _kernelspecs(folder)
    # Not `bin/jupyter`, which looks for its subcommands in PATH first.
    programs = Path(sys.executable).parent
    install = [f"{programs}/jupyter-gateway-spec", "install", "--url", gateway_url]
    install += ["--name", "demo", "--prefix", str(prefix), "--replace"]
    lab = [f"{programs}/jupyter-lab", *_as_root(), str(notebook)]
    path = shlex.quote(f"JUPYTER_PATH={prefix}/share/jupyter")
    return f"{shlex.join(install)} && env {path} {shlex.join(lab)}"


def _as_root() -> list[str]:
    # JupyterLab refuses to run as root without it, and the local cluster needs root.
    return ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def remove_kernelspecs(folder: Path) -> None:
    """Remove the kernelspecs that the line has installed, if it was run."""
    shutil.rmtree(_kernelspecs(folder), ignore_errors=True)
