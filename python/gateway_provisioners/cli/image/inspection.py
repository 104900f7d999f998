"""Checks of an image that start no kernel: files, programs, the user, permissions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway_provisioners._version import __version__
from gateway_provisioners.cli import install_files
from gateway_provisioners.cli.finding import Finding, Level
from gateway_provisioners.cli.image import runtime
from gateway_provisioners.cli.image.runtime import BOOTSTRAP, LAUNCHERS, OWN_LAUNCHER

_OTHERS_READ = 0o004
_OTHERS_ENTER = 0o005
_PACKAGE = f"gateway_provisioners {__version__}"


def bootstrap(script: Path) -> Iterator[Finding]:
    """Check that the script exists, is executable, and is this package's."""
    if not script.is_file():
        yield _problem(BOOTSTRAP, f"there is no {script}: {_install()}")
    elif not os.access(script, os.X_OK):
        yield _problem(BOOTSTRAP, f"{script} is not executable: chmod 0755 {script}")
    elif script.read_bytes() != (runtime.PACKAGED_LAUNCHERS / BOOTSTRAP).read_bytes():
        yield _warning(BOOTSTRAP, f"{script} {_differs(_install())}")
    else:
        yield _ok(BOOTSTRAP, f"{script} is the one of {_PACKAGE}")


def any_launcher(folder: Path, languages: Sequence[str]) -> Iterator[Finding]:
    """Check that the image has a launcher at all."""
    if not languages:
        advice = _install("--languages python")
        yield _problem("launchers", f"{folder} has no launcher: for Python, {advice}")


def user() -> Iterator[Finding]:
    """Check that the user is not root, so that Kubernetes runs it with runAsNonRoot."""
    if os.getuid() == 0:
        yield _warning(
            "user",
            "this runs as root, which Kubernetes refuses with runAsNonRoot: put the check after USER, and set"
            " USER to a number other than 0",
        )
    else:
        yield _ok("user", f"{os.getuid()}:{os.getgid()} is not root")


def folders() -> Iterator[Finding]:
    """Check that a kernel can write to its home and to the folder of temporary files."""
    home = os.environ.get("HOME", "/")
    if os.access(home, os.W_OK | os.X_OK):
        yield _ok("home", f"{home} can be written to")
    else:
        who = f"{os.getuid()}:{os.getgid()}"
        yield _warning("home", f"{home} cannot be written to by {who}: set HOME, or chown it")
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield _ok("temporary files", f"{Path(folder).parent} can be written to")
    except OSError as error:
        yield _problem("temporary files", f"{error}: mkdir -p /tmp && chmod 1777 /tmp")


def launcher(folder: Path, language: str) -> Iterator[Finding]:
    """Check that the language has a launcher that every user can run, and that it is this package's."""
    about = f"{language} launcher"
    found = runtime.find_launcher(folder, language)
    if found is None:
        own = folder / language / OWN_LAUNCHER
        advice = (
            _install(f"--languages {language}")
            if language in LAUNCHERS
            else f"docs/write-a-launcher.md explains how to write {own}"
        )
        yield _problem(about, f"there is no launcher in {folder}: {advice}")
        return
    if language not in LAUNCHERS and not os.access(found, os.X_OK):
        yield _problem(about, f"{found} is not executable: chmod 0755 {found}")
        return
    root = _launcher_folder(folder, found, language)
    unreadable = [path for path in (root, *root.rglob("*")) if not _readable_by_others(path)]
    if unreadable:
        advice = f"chmod -R a+rX {root}"
        yield _problem(about, f"users other than its owner cannot read {unreadable[0]}: {advice}")
    elif language in LAUNCHERS and not _as_packaged(root, language):
        yield _warning(about, f"{root} {_differs(_install(f'--languages {language}'))}")
    else:
        yield _ok(about, str(found))


def language_runtime(language: str) -> Iterator[Finding]:
    """Check what kernels of the language run on, if this package knows the language."""
    about = f"{language} runtime"
    try:
        if found := runtime.describe_runtime(language):
            yield _ok(about, found)
    except runtime.RuntimeMissing as error:
        yield _problem(about, str(error))


def _ok(about: str, text: str) -> Finding:
    return Finding(Level.OK, about, text)


def _warning(about: str, text: str) -> Finding:
    return Finding(Level.WARNING, about, text)


def _problem(about: str, text: str) -> Finding:
    return Finding(Level.PROBLEM, about, text)


def _install(*options: str) -> str:
    return " ".join(["RUN jupyter image-bootstrap install", *options])


def _differs(advice: str) -> str:
    return f"is not the one of {_PACKAGE}: {advice}, unless it is your own"


def _launcher_folder(folder: Path, found: Path, language: str) -> Path:
    """Return the folder of the launcher, for example .../kernel-launchers/python."""
    if language in LAUNCHERS:
        installed = folder / LAUNCHERS[language].installed
        if found.is_relative_to(installed):
            return installed
    return folder / found.relative_to(folder).parts[0]


def _readable_by_others(path: Path) -> bool:
    wanted = _OTHERS_ENTER if path.is_dir() else _OTHERS_READ
    return path.stat().st_mode & wanted == wanted


def _as_packaged(root: Path, language: str) -> bool:
    packaged = runtime.PACKAGED_LAUNCHERS / LAUNCHERS[language].packaged
    return install_files.read_folder(root) == install_files.read_folder(packaged)
