"""A Docker engine of this project's own: Debian's dockerd, started by hand and out of everybody's way.

All of it lives in namespaces: processes, mounts and /run are gone when its first process is. A ``closed`` one
has a network namespace as well, with one cable to the host and no way out: for tests. One that is not closed
shares the host's network and changes nothing of it: for builds, which need package registries.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ci import debian
from ci.commands import LAST_LINES, CommandError, UserError, run
from ci.paths import cache
from ci.progress import step

TOOLS = {"dockerd": "docker.io", "ip": "iproute2", "iptables": "iptables", "tini": "tini"}
# How many closed engines can share a machine: each has addresses of its own, which the host routes to it.
SLOTS = 16
# For the daemon to answer, and for the kernel to take away what is left of killed processes; in seconds.
START_SECONDS = 30
END_SECONDS = 15
ASK_SECONDS = 0.1
# A first process that reaps; and a /run and a /etc/docker of its own, where no other engine's containerd,
# settings and identity are found.
_INIT = """
for folder in /run /etc/docker; do mount -t tmpfs -o mode=755 tmpfs "${folder}" || exit; done
exec tini -- dockerd "$@"
"""


@dataclass(frozen=True)
class Addresses:
    """What a closed engine and the host call each other, and what its containers get."""

    slot: int

    @property
    def cable(self) -> ipaddress.IPv4Network:
        """The network of the cable's two ends."""
        return ipaddress.IPv4Network(f"10.251.{self.slot}.0/30")

    @property
    def host(self) -> str:
        """The host's end: where containers reach it."""
        return str(self.cable[1])

    @property
    def engine(self) -> str:
        """The engine's end."""
        return str(self.cable[2])

    @property
    def containers(self) -> ipaddress.IPv4Network:
        """The addresses of all its containers: the host has a route to them."""
        return ipaddress.IPv4Network(f"10.253.{self.slot * 16}.0/20")

    @property
    def options(self) -> list[str]:
        """Options of dockerd: the lower half for the bridge, the upper for networks that are made later."""
        bridge, pool = self.containers.subnets()
        return [
            f"--bip={bridge[1]}/24",
            f"--default-address-pool=base={pool},size=24",
            # The host sees a container's real address.
            "--ip-masq=false",
            # Nobody is there to ask: names that are not the engine's do not exist, at once.
            "--dns=127.0.0.1",
        ]


def _free_slot() -> int:
    """Return the first slot none of whose addresses the host uses or routes."""
    routes = json.loads(run("ip", "-json", "-4", "route", "show"))
    taken = [
        ipaddress.IPv4Network(route["dst"])
        for route in routes
        if route["dst"] != "default" and route.get("type", "unicast") == "unicast"
    ]
    for slot in range(SLOTS):
        wanted = (Addresses(slot).cable, Addresses(slot).containers)
        if not any(own.overlaps(other) for own in wanted for other in taken):
            return slot
    raise UserError(
        "no free addresses for a Docker engine: "
        "the host already routes all of 10.251.0-15.0/30 or 10.253.0.0/16 in some part"
    )


def _identity(pid: int) -> str:
    """Return what tells a process from a later one with the same id; "" when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    started, boot = fields[19], Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{started} {boot}"


def _ended(pidfd: int, seconds: float) -> bool:
    """Tell whether a process ends within the time."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


@dataclass(frozen=True)
class Dockerd:
    """One engine by its name, whether it runs or not."""

    name: str
    closed: bool = True

    @property
    def folder(self) -> Path:
        """Where all its files are."""
        root = os.environ.get("GP_ENGINE_STATE") or "/var/lib/gateway-provisioners-engines"
        return Path(root) / self.name

    @property
    def host(self) -> str:
        """Where it answers, as DOCKER_HOST has it."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "dockerd.log"

    @property
    def addresses(self) -> Addresses:
        """The addresses of a closed one that is up."""
        return Addresses(int((self.folder / "slot").read_text()))

    def answers(self) -> bool:
        """Tell whether it is up."""
        if not (self.folder / "docker.sock").exists():
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
        debian.install_missing(TOOLS, "a Docker engine of our own")
        if os.geteuid() != 0:
            raise UserError("a Docker engine of our own needs root; or name yours: ENGINE_HOST=...")
        with self._locked():
            if not self.answers():
                with step(f"Start the Docker engine {self.name}"):
                    self._end()  # what is left of one that died
                    self._start()

    def down(self) -> None:
        """Take it down, with all that it holds, and leave nothing.

        Raises CommandError when something is left.
        """
        if not self.folder.exists():
            return
        with self._locked(), step(f"Remove the Docker engine {self.name}"):
            self._end()
            if self._link_exists():
                run("ip", "link", "del", self._link)
            if self._netns.exists():
                run("ip", "netns", "del", self.name)
            self._remove_cgroups()
            shutil.rmtree(self.folder)
            with suppress(OSError):  # others have theirs in it
                self.folder.parent.rmdir()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        cache().mkdir(parents=True, exist_ok=True)
        with (cache() / "dockerd.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # -- processes

    def _start(self) -> None:
        self.folder.mkdir(exist_ok=True, parents=True)
        words = ["unshare", "--mount", "--propagation=slave", "--pid", "--mount-proc"]
        words += ["--kill-child", "sh", "-c", _INIT, "dockerd"]
        words += [f"--host={self.host}", f"--data-root={self.folder}/data"]
        words += ["--storage-driver=overlay2", "--exec-opt=native.cgroupdriver=cgroupfs"]
        words += [f"--cgroup-parent=/{self.name}"]
        if self.closed:
            self._connect()
            words = ["nsenter", f"--net={self._netns}", *words, *self.addresses.options]
        else:
            words += ["--bridge=none", "--iptables=false", "--ip-forward=false"]
        pid = os.posix_spawnp(
            words[0],
            words,
            # Not the proxies of whoever starts it.
            {"PATH": os.environ["PATH"]},
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
                raise CommandError(f"dockerd did not get ready; {self.log} ends with:\n{last}")
            time.sleep(ASK_SECONDS)

    def _pid(self) -> int:
        """Return the id of its living process, whose death is that of all others; 0 when there is none."""
        try:
            pid, _, identity = (self.folder / "process").read_text().partition(" ")
        except OSError:
            return 0
        return int(pid) if _identity(int(pid)) == identity else 0

    def _end(self) -> None:
        """End all its processes, and with them their mounts and their /run."""
        pid = self._pid()
        if not pid:
            return
        with ExitStack() as stack, suppress(ProcessLookupError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            held = [os.pidfd_open(number) for number in (pid, *map(int, children))]
            for pidfd in held:
                stack.callback(os.close, pidfd)
            if not self._pid():  # held, and no longer the same
                return
            signal.pidfd_send_signal(held[0], signal.SIGKILL)
            # The child is the first process of its namespace: when it is gone, so are all.
            if not all(_ended(pidfd, END_SECONDS) for pidfd in held):
                raise CommandError(f"the processes of the Docker engine {self.name} do not end")

    # -- the network of a closed one

    @property
    def _netns(self) -> Path:
        return Path("/run/netns") / self.name

    @property
    def _link(self) -> str:
        return f"gpe{self.addresses.slot}host"

    def _link_exists(self) -> bool:
        return self.closed and Path(f"/sys/class/net/{self._link}").exists()

    def _connect(self) -> None:
        """Make its network namespace, with addresses before anything runs there."""
        slot = self.folder / "slot"
        if not slot.exists():
            slot.write_text(str(_free_slot()))
        if not self._netns.exists():
            run("ip", "netns", "add", self.name)
        if self._link_exists():
            return
        own, link, peer = self.addresses, self._link, self._link.replace("host", "node")
        try:
            run("ip", "-n", self.name, "link", "set", "lo", "up")
            words = ("type", "veth", "peer", "name", peer, "netns", self.name)
            run("ip", "link", "add", link, *words)
            run("ip", "-n", self.name, "addr", "add", f"{own.engine}/30", "dev", peer)
            run("ip", "-n", self.name, "link", "set", peer, "up")
            run("ip", "addr", "add", f"{own.host}/30", "dev", link)
            run("ip", "link", "set", link, "up")
            run("ip", "route", "add", str(own.containers), "via", own.engine, "dev", link)
            # dockerd that finds this switched on lets the host in: it refuses nothing that is forwarded.
            forward = "echo 1 >/proc/sys/net/ipv4/ip_forward"
            run("nsenter", f"--net={self._netns}", "sh", "-c", forward)
        except CommandError:
            with suppress(CommandError):  # half a cable would be taken for a whole one
                run("ip", "link", "del", link)
            raise

    # -- cgroups

    def _remove_cgroups(self) -> None:
        """Remove the cgroups of its containers; the kernel frees them a moment after their processes."""
        deadline = time.monotonic() + END_SECONDS
        # Version 2 has one hierarchy, version 1 one below each of its folders.
        tops = [*Path("/sys/fs/cgroup").glob(f"*/{self.name}"), Path("/sys/fs/cgroup") / self.name]
        for top in tops:
            for cgroup in sorted((path for path in top.rglob("*/") if path.is_dir()), reverse=True):
                self._remove_cgroup(cgroup, deadline)
            if top.exists():
                self._remove_cgroup(top, deadline)

    @staticmethod
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
