"""Memory and CPU of the container that the launcher runs in, as its cgroup counts them (cgroups(7))."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LONGEST_FILE = 1 << 20
LARGEST = 10**15 - 1  # bytes; JSON keeps whole numbers of 15 digits exact in every language
# A line of proc_pid_mountinfo(5).
_MOUNT = re.compile(
    r"\S+ \S+ \S+ (?P<root>\S+) (?P<folder>\S+) .*- (?P<kind>\S+) \S+ (?P<options>\S+)"
)


@dataclass(frozen=True)
class _Cgroup:
    """The launcher's cgroup in one hierarchy; without a directory where none can be seen.

    Attributes:
        unified: whether the hierarchy is of version 2.
    """

    directory: Path | None
    unified: bool

    def number(self, file: str, key: str = "") -> int | None:
        """Return the number that a file holds, or that follows a key in it."""
        text = _read(self.directory / file) if self.directory else ""
        match = re.search(rf"^{key} ?([0-9]{{1,20}})$", text, re.MULTILINE)
        return int(match[1]) if match else None


def read_usage(root: Path = Path("/")) -> dict[str, float | None] | None:
    """Return the content of `usage` in the answer to `{"usage": 1}`.

    Args:
        root: the folder that holds proc and sys.

    Returns:
        None if neither the memory nor the CPU time can be read.
    """
    memory, accounting, cpu = (_cgroup(root, name) for name in ("memory", "cpuacct", "cpu"))
    if memory.unified:
        used, limit = memory.number("memory.current"), memory.number("memory.max")
        cache = memory.number("memory.stat", "inactive_file")
    else:
        used, limit = memory.number("memory.usage_in_bytes"), memory.number("memory.limit_in_bytes")
        cache = memory.number("memory.stat", "total_inactive_file")
    working_set = _bounded(None if used is None or cache is None else max(used - cache, 0))
    seconds = _seconds(accounting)
    if working_set is None and seconds is None:
        return None
    return {
        "memory": working_set,
        "memory_limit": _bounded(limit),
        "cpu": seconds,
        "cpu_limit": _cores(cpu),
    }


def _bounded(value: int | None) -> int | None:
    """Return None for no limit, which version 1 writes as a number close to 2**63."""
    return None if value is None or value > LARGEST else value


def _seconds(accounting: _Cgroup) -> float | None:
    if accounting.unified:
        microseconds = accounting.number("cpu.stat", "usage_usec")
        return None if microseconds is None else microseconds / 1e6
    nanoseconds = accounting.number("cpuacct.usage")
    return None if nanoseconds is None else nanoseconds / 1e9


def _cores(cpu: _Cgroup) -> float | None:
    if cpu.unified:
        text = _read(cpu.directory / "cpu.max") if cpu.directory else ""
        match = re.fullmatch(r"([0-9]{1,20}) ([0-9]{1,20})\n?", text)
        quota, period = (int(match[1]), int(match[2])) if match else (None, None)
    else:
        quota, period = cpu.number("cpu.cfs_quota_us"), cpu.number("cpu.cfs_period_us")
    return quota / period if quota and period else None


def _cgroup(root: Path, controller: str) -> _Cgroup:
    """Find the launcher's cgroup: of version 1 if one of its hierarchies has the controller, else of 2."""
    paths = {}
    lines = _read(root / "proc/self/cgroup").split("\n")
    for controllers, path in (line.split(":", 2)[1:] for line in lines if line.count(":") > 1):
        for name in controllers.split(","):
            paths[name] = path
    unified = controller not in paths
    hierarchy = "" if unified else controller
    return _Cgroup(_directory(root, hierarchy, paths.get(hierarchy, "")), unified)


def _directory(root: Path, controller: str, path: str) -> Path | None:
    """Find the folder of a cgroup, in a mount of its hierarchy that shows it.

    Args:
        controller: one of a version 1 hierarchy; "" for version 2.
        path: as in /proc/self/cgroup.
    """
    if ".." in path.split("/"):  # outside of this cgroup namespace
        return None
    for line in _read(root / "proc/self/mountinfo").split("\n"):
        mount = _MOUNT.fullmatch(line)
        if not mount or mount["kind"] != ("cgroup" if controller else "cgroup2"):
            continue
        if controller and controller not in mount["options"].split(","):
            continue
        shown, folder = _unescaped(mount["root"]), _unescaped(mount["folder"])
        below = path.removeprefix(shown.rstrip("/"))
        if path.startswith(shown) and below[:1] in ("", "/"):
            directory = root / folder.lstrip("/") / below.lstrip("/")
            with suppress(OSError):
                if directory.is_dir():
                    return directory
    return None


def _unescaped(field: str) -> str:
    """Return a field of mountinfo with spaces, tabs, line ends and backslashes as themselves."""
    return re.sub(r"\\([0-7]{3})", lambda escaped: chr(int(escaped[1], 8)), field)


def _read(file: Path) -> str:
    """Return the text of a file, empty if it cannot be read."""
    try:
        with file.open("rb") as opened:
            return os.fsdecode(opened.read(LONGEST_FILE))
    except OSError:
        return ""
