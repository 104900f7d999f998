"""A container engine of this project's own, isolated from all others on the machine.

All of it lives in namespaces: processes, mounts and /run are gone when its first process is. A ``closed`` one
has a network namespace as well, connected to the host only: for tests. One that is not closed shares the
host's network and changes nothing of it: for builds, which need package registries.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ci import debian
from ci.commands import LAST_LINES, CommandError, UserError, run
from ci.locks import one_process_at_a_time
from ci.progress import step
from ci.veth import Addresses, Veth, free_slot

CGROUPS = Path("/sys/fs/cgroup")
# The limits for an engine to answer and for the kernel to tear down killed processes, in seconds.
START_SECONDS = 30
END_SECONDS = 15
ASK_SECONDS = 0.1


def _identity(pid: int) -> str:
    """Return what distinguishes a process from a later one with the same id; "" when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    if fields[0] == "Z":  # not waited for yet
        return ""
    started, boot = fields[19], Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{started} {boot}"


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _ended(pidfd: int, seconds: float) -> bool:
    """Return whether a process ends within the time."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


@dataclass(frozen=True)
class PrivateEngine(ABC):
    """One engine by its name, whether it runs or not."""

    name: str
    closed: bool = True

    # Its name in messages, the name of its socket, and the Debian package of each program that it needs.
    kind: ClassVar[str]
    socket: ClassVar[str]
    tools: ClassVar[Mapping[str, str]]
    # A script for the first process in its namespaces: it mounts folders and becomes an init process, which
    # runs the script's arguments.
    init: ClassVar[str]

    @abstractmethod
    def _prepare(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """Make its files; return the command that starts it, and its environment.

        Raises UserError for what the machine lacks.
        """

    @abstractmethod
    def _cgroups(self) -> Iterable[Path]:
        """Return the topmost cgroups of its containers, wherever they exist."""

    @property
    def folder(self) -> Path:
        """The folder of all its files."""
        root = os.environ.get("GP_ENGINE_STATE") or "/var/lib/gateway-provisioners-engines"
        return Path(root) / self.name

    @property
    def host(self) -> str:
        """Its address, as DOCKER_HOST has it."""
        return f"unix://{self.folder}/{self.socket}"

    @property
    def log(self) -> Path:
        """The file of its output."""
        return self.folder / "engine.log"

    @property
    def addresses(self) -> Addresses:
        """The addresses of a closed one that is up."""
        return Addresses(self._veth.slot)

    def answers(self) -> bool:
        """Return whether it is up."""
        if not (self.folder / self.socket).exists():
            return False
        with suppress(CommandError):
            run("docker", f"--host={self.host}", "version")
            return True
        return False

    def up(self) -> None:
        """Bring it up, unless it is.

        Raises UserError for what the machine lacks, CommandError when it does not start.
        """
        if self.answers():
            return
        debian.install_missing(self.tools, f"a {self.kind} of our own")
        if os.geteuid() != 0:
            raise UserError(f"a {self.kind} of our own needs root; or name yours: ENGINE_HOST=...")
        with one_process_at_a_time("own-engines", "starts or stops an engine"):
            if not self.answers():
                with step(f"Start the {self.kind} {self.name}"):
                    self._end()  # what is left of one that died
                    self._start()

    def down(self) -> None:
        """Take it down, with all that it holds, and leave nothing.

        Raises CommandError when something is left.
        """
        if not self.folder.exists() and not self._trash.exists():
            return
        with (
            one_process_at_a_time("own-engines", "starts or stops an engine"),
            step(f"Remove the {self.kind} {self.name}"),
        ):
            self._end()
            if self._slot.exists():
                self._veth.remove()
            _remove_cgroups(self._cgroups())
            self._remove_files()
            with suppress(OSError):  # others have theirs in it
                self.folder.parent.rmdir()

    def _remove_files(self) -> None:
        """Remove its files in one step: if this is interrupted, the next run finds all of them or none."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._trash)
        with suppress(FileNotFoundError):
            self.folder.rename(self._trash)
            shutil.rmtree(self._trash)

    @property
    def _trash(self) -> Path:
        """The folder of its files while they are being removed."""
        return self.folder.with_name(f"{self.name}.going")

    @property
    def _slot(self) -> Path:
        return self.folder / "slot"

    @property
    def _veth(self) -> Veth:
        return Veth(self.name, int(self._slot.read_text()))

    def _start(self) -> None:
        self.folder.mkdir(exist_ok=True, parents=True)
        command = ["unshare", "--mount", "--propagation=slave", "--pid", "--mount-proc"]
        command += ["--kill-child", f"--wd={self.folder}", "sh", "-c", self.init, self.name]
        if self.closed:
            if not self._slot.exists():
                self._slot.write_text(str(free_slot()))
            self._veth.connect()
            command = ["nsenter", f"--net={self._veth.namespace}", *command]
        engine, environment = self._prepare()
        command += engine
        pid = os.posix_spawnp(
            command[0],
            command,
            # Without the proxies of the process that starts it.
            {"PATH": os.environ["PATH"], **environment},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), os.O_WRONLY | os.O_CREAT, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        (self.folder / "process").write_text(f"{pid} {_identity(pid)}")
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if not self._pid() or time.monotonic() > deadline:
                self._end()
                last = "\n".join(self.log.read_text().splitlines()[-LAST_LINES:])
                raise CommandError(
                    f"the {self.kind} did not get ready; {self.log} ends with:\n{last}"
                )
            time.sleep(ASK_SECONDS)

    def _pid(self) -> int:
        """Return the id of its living process, with which all others end; 0 without one."""
        try:
            pid, _, identity = (self.folder / "process").read_text().partition(" ")
        except OSError:
            return 0
        return int(pid) if _identity(int(pid)) == identity else 0

    def _first_process(self) -> int:
        """Return the id of the first process in its namespaces, while it is up."""
        [first] = _children(self._pid())
        return first

    def _end(self) -> None:
        """End all its processes, and with them their mounts and their /run."""
        pid = self._pid()
        if not pid:
            return
        with ExitStack() as stack, suppress(ProcessLookupError):
            held = [os.pidfd_open(number) for number in (pid, *_children(pid))]
            for pidfd in held:
                stack.callback(os.close, pidfd)
            if not self._pid():  # ended before it was held
                return
            signal.pidfd_send_signal(held[0], signal.SIGKILL)
            # The child is the first process of its namespace: when it is gone, so are all.
            if not all(_ended(pidfd, END_SECONDS) for pidfd in held):
                raise CommandError(f"the processes of the {self.kind} {self.name} do not end")


def _remove_cgroups(tops: Iterable[Path]) -> None:
    """Remove cgroups and those in them; the kernel frees them a moment after their processes."""
    deadline = time.monotonic() + END_SECONDS
    for top in tops:
        for cgroup in sorted((path for path in top.rglob("*/") if path.is_dir()), reverse=True):
            _remove_cgroup(cgroup, deadline)
        if top.exists():
            _remove_cgroup(top, deadline)


def _remove_cgroup(cgroup: Path, deadline: float) -> None:
    while True:
        try:
            cgroup.rmdir()
        except OSError as error:
            if time.monotonic() > deadline:
                raise CommandError(f"left behind: {cgroup}: {error.strerror}") from error
            time.sleep(ASK_SECONDS)
        else:
            return
