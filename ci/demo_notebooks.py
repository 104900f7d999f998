"""The demo's kernels and notebooks, on any engine, and their execution."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ci import images
from ci.commands import CommandError
from ci.notebooks import at_gateway, execute, kernel_name
from ci.paths import ROOT
from ci.progress import step

# The kernel that the demo adds.
CUSTOM = "custom"
OWN_KERNELS = {"python3": images.KERNEL_PY, "r": images.KERNEL_R, "scala": images.KERNEL_SCALA}
# A JVM that starts in half the time, and computes more slowly, is the better one for a short notebook.
SCALA_VARIABLES = {"SPARK_SUBMIT_OPTS": "-XX:TieredStopAtLevel=1"}
LISTED_SECONDS = 60


def run_notebooks(
    gateway_url: str, token: str, into: Path, where: str, last_lines: Callable[[], str]
) -> list[Path]:
    """Execute the example notebooks at a gateway; return the files that hold the results.

    Args:
        into: the folder for these.
        where: what a kernel runs in, for people.
        last_lines: gives the end of the gateway's log, for when a notebook fails.

    Raises CommandError when one fails.
    """
    results: list[Path] = []
    with step("Wait until the gateway lists the kernels"):
        _wait_for_kernels(gateway_url, token, {CUSTOM, *OWN_KERNELS})
    with at_gateway(gateway_url, token) as gateway:
        for notebook in sorted((ROOT / "examples/notebooks").glob("*.ipynb")):
            kernel = kernel_name(notebook)
            with step(f"Execute {notebook.relative_to(ROOT)} {where} of the kernel {kernel}"):
                try:
                    results += execute(notebook, gateway, into)
                except CommandError as error:
                    raise CommandError(
                        f"{error}\nThe gateway's last lines:\n{last_lines()}"
                    ) from error
    return results


def _wait_for_kernels(gateway_url: str, token: str, names: set[str]) -> None:
    """Wait until the gateway lists the kernels that were added: within seconds, and without a restart."""
    deadline = time.monotonic() + LISTED_SECONDS
    request = urllib.request.Request(  # noqa: S310 - a URL of the demo's own
        f"{gateway_url}/api/kernelspecs", headers={"Authorization": f"token {token}"}
    )
    while True:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            missing = names - json.load(answer)["kernelspecs"].keys()
        if not missing:
            return
        if time.monotonic() > deadline:
            raise CommandError(f"the gateway does not list the kernel {min(missing)}")
        time.sleep(0.2)
