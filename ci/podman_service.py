"""A podman of this project's own: Debian's, with its service, whose API is Docker's."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci import debian
from ci.private_engine import CGROUPS, PrivateEngine

PACKAGES = ("podman", "runc", "netavark", "aardvark-dns")
# Images of any source: access to the socket decides who may use the service.
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'
# runc, and limits that a root without CAP_SYS_RESOURCE can have.
_CONTAINERS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
dns_servers = [{dns}]

[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
{subnets}

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
conmon_path = ["{root}/usr/bin/conmon", "/usr/bin/conmon"]
helper_binaries_dir = ["{root}/usr/lib/podman", "/usr/lib/podman"]
volume_path = "{folder}/volumes"
"""
_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "/run/containers/storage"
"""
_REGISTRY = """
[[registry]]
location = "{}"
insecure = true
"""


@dataclass(frozen=True)
class PodmanService(PrivateEngine):
    """Debian's podman as a private engine: no other podman's images or locks are touched.

    ``insecure`` are registries that it talks to without TLS, as dockerd does to all that are on loopback.
    """

    insecure: Sequence[str] = ()

    kind = "podman service"
    socket = "podman.sock"
    tools = {"docker": "docker.io", "ip": "iproute2", "iptables": "iptables", "tini": "tini"}  # noqa: RUF012
    # Of its own: /run and /dev/shm, with the state and the locks of containers, and /var/cache, with
    # the short names of images.
    init = """
for folder in /run /dev/shm /var/cache; do mount -t tmpfs -o mode=755 tmpfs "${folder}" || exit; done
exec tini -- "$@"
"""

    def command(self) -> Path:
        """Make a command `podman` that works on the service's storage while it is up; return its folder."""
        variables = self._environment(debian.unpacked(PACKAGES)).items()
        command = ["nsenter", f"--target={self._first_process()}", "--mount", "--pid", "--", "env"]
        command += [*(f"{name}={value}" for name, value in variables), "podman"]
        program = self.folder / "bin/podman"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        program.chmod(0o755)
        return program.parent

    def _prepare(self) -> tuple[Sequence[str], Mapping[str, str]]:
        root = debian.unpacked(PACKAGES)
        subnets, dns = "", ""
        if self.closed:
            addresses = self.addresses
            subnets = (
                f'default_subnet = "{addresses.bridge}"\n'
                f'default_subnet_pools = [{{"base" = "{addresses.pool}", "size" = 24}}]'
            )
            # There is no name server: names that are not the engine's fail at once.
            dns = '"127.0.0.1"'
        files = {
            "containers.conf": _CONTAINERS.format(
                folder=self.folder, root=root, subnets=subnets, dns=dns
            ),
            "storage.conf": _STORAGE.format(folder=self.folder),
            "registries.conf": "".join(map(_REGISTRY.format, self.insecure)),
            ".config/containers/policy.json": _POLICY,
        }
        for name, content in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(content)
        return ["podman", "system", "service", "--time=0", self.host], self._environment(root)

    def _environment(self, root: Path) -> dict[str, str]:
        folders = [f"{root}/usr/bin", f"{root}/usr/sbin", os.environ["PATH"]]
        return {
            "PATH": ":".join(folders),
            "LD_LIBRARY_PATH": ":".join(map(str, root.glob("usr/lib/*-linux-gnu"))),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "CONTAINERS_CONF": f"{self.folder}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.folder}/storage.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{self.folder}/registries.conf",
        }

    def _cgroups(self) -> Iterable[Path]:
        # The parent cgroup, empty then, has the same name for every podman: it stays.
        containers = (self.folder / "storage/overlay-containers").glob("*/")
        for names in (f"libpod_parent/libpod-{container.name}" for container in containers):
            yield from [*CGROUPS.glob(f"*/{names}"), CGROUPS / names]
