"""A language's launcher in an image, and the runtime that it needs, looked up as bootstrap-kernel.sh does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BOOTSTRAP = "bootstrap-kernel.sh"
LAUNCHERS_FOLDER = "kernel-launchers"
PACKAGED_LAUNCHERS = Path(__file__).parents[2] / "_launchers"
OWN_LAUNCHER = "launch"
PROBE_SECONDS = 60


@dataclass(frozen=True)
class Launcher:
    """A language's launcher.

    Attributes:
        packaged: its folder in the package.
        installed: its folder below kernel-launchers/ in the image: that of gateway-provisioners 0.5.0
            and Enterprise Gateway, so that Dockerfiles written for them keep working.
        entry_files: those that bootstrap-kernel.sh looks for below kernel-launchers/, in this order.
        how_to_make: a hint for the error message when the package does not contain it.
    """

    packaged: str
    installed: str
    entry_files: tuple[str, ...]
    how_to_make: str = ""


LAUNCHERS = {
    "python": Launcher("python", "python", ("python/scripts/launch_ipykernel.py",)),
    "r": Launcher("r", "R", ("r/scripts/launch_IRkernel.R", "R/scripts/launch_IRkernel.R")),
    "scala": Launcher(
        "scala/lib",
        "scala/lib",
        ("scala/lib/toree-launcher.jar",),
        " In a checkout, python -m ci.scala_launcher builds it.",
    ),
}


class RuntimeMissing(Exception):
    """Kernels of a language cannot run in this image; the message says what is missing and what to do."""


def find_launcher(folder: Path, language: str) -> Path | None:
    """Return the launcher of a language in an image's kernel-launchers/, or None."""
    known = LAUNCHERS.get(language)
    files = known.entry_files if known else (f"{language}/{OWN_LAUNCHER}",)
    return next((path for file in files if (path := folder / file).exists()), None)


def languages_in(folder: Path) -> list[str]:
    """Return the languages that an image's kernel-launchers/ has a launcher for."""
    own = sorted(path.parent.name for path in folder.glob(f"*/{OWN_LAUNCHER}"))
    known = [language for language in LAUNCHERS if find_launcher(folder, language)]
    return known + [language for language in own if language not in LAUNCHERS]


def describe_runtime(language: str) -> str:
    """Return a description of what kernels of the language run on; "" if this package has no launcher for it.

    Raises:
        RuntimeMissing: it is not installed.
    """
    probes = {"python": _python, "r": _r, "scala": _scala}
    return probes[language]() if language in probes else ""


_PYTHON_PROBE = """
import json, platform
from importlib.metadata import version
import ipykernel, zmq
print(json.dumps([platform.python_version(), version("ipykernel"), zmq.has("curve")]))
"""
_CURVE_SINCE = (7, 3)


def _python() -> str:
    program = _program("python", "python3", advice="install Python 3.10 or later")
    advice = f"{program} -m pip install ipykernel"
    output = _run(
        [program, "-c", _PYTHON_PROBE], f"ipykernel cannot be imported by {program}", advice
    )
    python, ipykernel, curve = json.loads(output)
    recent = tuple(int(part) for part in ipykernel.split(".")[:2]) >= _CURVE_SINCE
    encryption = (
        "its channels can be encrypted"
        if recent and curve
        else "its channels cannot be encrypted: that needs ipykernel 7.3 or later"
    )
    return f"{program} is Python {python} with ipykernel {ipykernel}; {encryption}"


def _r() -> str:
    program = _program("Rscript", advice="install R (on Debian: r-base-core)")
    code = 'cat(as.character(getRversion()), as.character(packageVersion("IRkernel")))'
    output = _run(
        [program, "--no-init-file", "-e", code],
        f"the R package IRkernel cannot be loaded by {program}",
        "install.packages('IRkernel') in R",
    )
    r, irkernel = output.split()
    return f"{program} is R {r} with IRkernel {irkernel}"


# The launcher is compiled for this Scala; Spark for another Scala has another jar.
_SPARK = "jars/scala-library-2.12.*.jar"


def _scala() -> str:
    advice = "install a Java runtime (JDK 17)"
    java_home = os.environ.get("JAVA_HOME") or "/nonexistent"
    java = _program(f"{java_home}/bin/java", "java", advice=advice)
    _run([java, "-version"], f"{java} does not run", advice)
    spark = _folder("SPARK_HOME", "pyspark", _SPARK, "Apache Spark 3.5 for Scala 2.12")
    toree = _folder("TOREE_HOME", "toree", "lib/toree-assembly-*.jar", "Apache Toree 0.5")
    return f"{java}, Spark in {spark}, Toree in {toree}"


def _folder(variable: str, package: str, needed: str, title: str) -> Path:
    """Return the folder that the variable names, or that of the pip package."""
    if home := os.environ.get(variable):
        folder = Path(home)
    else:
        code = f"import {package}; print({package}.__path__[0])"
        advice = f"install {title} and set {variable} to its folder, or pip install {package}"
        python = _program("python", "python3", advice=advice)
        folder = Path(_run([python, "-c", code], f"there is no {title}", advice).strip())
    if not any(folder.glob(needed)):
        raise RuntimeMissing(
            f"{folder} does not contain {needed}: set {variable} to the folder of {title}"
        )
    return folder


def _program(*names: str, advice: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    raise RuntimeMissing(f"{names[-1]} is not in PATH: {advice}")


def _run(command: Sequence[str], failure: str, advice: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  (a program of the image, and our own code)
            command, capture_output=True, text=True, check=True, timeout=PROBE_SECONDS
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise RuntimeMissing(f"{failure} ({last}): {advice}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeMissing(f"{failure} ({error}): {advice}") from error
    return done.stdout
