"""A Docker engine of this project's own: Debian's dockerd."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.private_engine import CGROUPS, PrivateEngine


@dataclass(frozen=True)
class Dockerd(PrivateEngine):
    """Debian's dockerd as a private engine."""

    kind = "Docker engine"
    socket = "docker.sock"
    tools = {"dockerd": "docker.io", "ip": "iproute2", "iptables": "iptables", "tini": "tini"}  # noqa: RUF012
    # Of its own: /run and /etc/docker, where others have their containerd, settings and identity.
    init = """
for folder in /run /etc/docker; do mount -t tmpfs -o mode=755 tmpfs "${folder}" || exit; done
exec tini -- "$@"
"""

    def _prepare(self) -> tuple[Sequence[str], Mapping[str, str]]:
        command = ["dockerd", f"--host={self.host}", f"--data-root={self.folder}/data"]
        command += ["--storage-driver=overlay2", "--exec-opt=native.cgroupdriver=cgroupfs"]
        command += [f"--cgroup-parent=/{self.name}"]
        if not self.closed:
            return [*command, "--bridge=none", "--iptables=false", "--ip-forward=false"], {}
        addresses = self.addresses
        command += [
            f"--bip={addresses.bridge[1]}/24",
            f"--default-address-pool=base={addresses.pool},size=24",
            # The host sees a container's real address.
            "--ip-masq=false",
            # There is no name server: names that are not the engine's fail at once.
            "--dns=127.0.0.1",
        ]
        return command, {}

    def _cgroups(self) -> Iterable[Path]:
        # Version 2 has one hierarchy, version 1 one below each of its folders.
        return [*CGROUPS.glob(f"*/{self.name}"), CGROUPS / self.name]
