"""Checks of an image that start no kernel: files, programs, the user, permissions."""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway_provisioners._version import __version__
from gateway_provisioners.cli import install_files
from gateway_provisioners.cli.finding import Finding, Level
from gateway_provisioners.cli.image import runtime
from gateway_provisioners.cli.image.runtime import BOOTSTRAP, LAUNCHERS, OWN_LAUNCHER
from gateway_provisioners.model.pod.manifest import KernelPodSpec

_OTHERS_READ = 0o004
_OTHERS_ENTER = 0o005
BASH = "/bin/bash"
# Those that kernels run as: the gateway's choice, and an id as OpenShift chooses them.
USERS = ((KernelPodSpec.run_as_user or 0, KernelPodSpec.run_as_group or 0), (1000970000, 0))
_NSS_WRAPPERS = tuple(
    f"{folder}/libnss_wrapper.so" for folder in ("lib/*-linux-gnu", "lib64", "lib")
)
_PYTHON_VARIABLES = {
    "PYTHONHOME": "a Python of another folder does not start; remove it",
    "PYTHONPATH": "its modules take the place of the kernel's of the same name",
    "PYTHONWARNINGS": "a library that warns may fail to be imported, if it is `error`",
    "PYTHONPLATLIBDIR": "a Python that was built for another one does not start; remove it",
    "LD_PRELOAD": "it is loaded into every program",
}
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


def accounts() -> Iterator[Finding]:
    """Check each user that kernels run as: that it has an account, and a home that it can write to.

    For root: the gateway's choice, and an id as OpenShift chooses them. Otherwise the user of this process.
    """
    if os.getuid() == 0 and not _can_become_others():
        yield _warning(
            "account",
            "this build has no other users than root, so that those of kernels are not checked: check the"
            " image with `make check-image`, or build it with a range of ids in /etc/subuid",
        )
        return
    users = [(os.getuid(), os.getgid())] if os.getuid() else USERS
    for uid, gid in users:
        try:
            account: str | None = pwd.getpwuid(uid).pw_name
        except KeyError:
            account = None
        if account is not None:
            yield _ok("account", f"{uid} is {account}")
        elif gid == 0 and _can_write("/etc/passwd", uid, gid):
            yield _ok("account", f"{uid} has none; {BOOTSTRAP} adds one to /etc/passwd")
        elif any(library for place in _NSS_WRAPPERS for library in Path("/usr").glob(place)):
            yield _ok("account", f"{uid} has none; libnss_wrapper gives it a name")
        else:
            yield _warning(
                "account",
                f"{uid} has none: its name is user{uid} then, and Spark does not start. Add it with useradd;"
                " or, for any id of group 0, chgrp 0 /etc/passwd && chmod g=u /etc/passwd",
            )
        home = os.environ.get("HOME", "/")
        if home != "/" and _can_write(home, uid, gid):
            yield _ok("home", f"{home} can be written to by {uid}:{gid}")
        else:
            yield _warning(
                "home",
                f"{home} cannot be written to by {uid}:{gid}, which gets one in /tmp: set HOME, or chown it",
            )


def temporary_files() -> Iterator[Finding]:
    """Check that a kernel can write temporary files."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield _ok("temporary files", f"{Path(folder).parent} can be written to")
    except OSError as error:
        yield _problem("temporary files", f"{error}: mkdir -p /tmp && chmod 1777 /tmp")


def bash() -> Iterator[Finding]:
    """Check that the shell of bootstrap-kernel.sh exists."""
    if not os.access(BASH, os.X_OK):
        yield _problem("bash", f"{BOOTSTRAP} needs {BASH}, which is missing: install bash")


def variables() -> Iterator[Finding]:
    """Check for variables that change every Python of the image."""
    for name, consequence in _PYTHON_VARIABLES.items():
        if value := os.environ.get(name):
            yield _warning("environment", f"{name}={value}: {consequence}")


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


def _can_become_others() -> bool:
    """Return whether root may start processes of the users of kernels; some rootless builders forbid it."""
    try:
        for uid, gid in USERS:
            _can_write("/", uid, gid)
    except PermissionError:
        return False
    return True


def _can_write(path: str, uid: int, gid: int) -> bool:
    if os.getuid():
        return os.access(path, os.W_OK)
    test = f"[[ -w {shlex.quote(path)} ]]"
    done = subprocess.run(  # noqa: S603
        [BASH, "-c", test], user=uid, group=gid, extra_groups=[], check=False, cwd="/"
    )
    return done.returncode == 0


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
