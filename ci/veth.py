"""The network of a closed engine: a namespace, connected to the host by a veth pair and to nothing else."""

from __future__ import annotations

import ipaddress
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ci.commands import CommandError, UserError, run

# The number of closed engines that can share a machine: the host routes addresses of its own to each.
SLOTS = 16


@dataclass(frozen=True)
class Addresses:
    """The addresses of a closed engine, of the host's end, and of its containers."""

    slot: int

    @property
    def link(self) -> ipaddress.IPv4Network:
        """The network of the pair's two ends."""
        return ipaddress.IPv4Network(f"10.251.{self.slot}.0/30")

    @property
    def host(self) -> str:
        """The host's end: where containers reach it."""
        return str(self.link[1])

    @property
    def engine(self) -> str:
        """The engine's end."""
        return str(self.link[2])

    @property
    def containers(self) -> ipaddress.IPv4Network:
        """The addresses of all its containers: the host has a route to them."""
        return ipaddress.IPv4Network(f"10.253.{self.slot * 16}.0/20")

    @property
    def bridge(self) -> ipaddress.IPv4Network:
        """The addresses of the default network: a /24 of the lower half."""
        return next(self.containers.subnets(new_prefix=24))

    @property
    def pool(self) -> ipaddress.IPv4Network:
        """The addresses of networks that are made later: the upper half."""
        return list(self.containers.subnets())[1]


def free_slot() -> int:
    """Return the first slot whose addresses the host neither uses nor routes.

    Raises UserError when all are taken.
    """
    routes = json.loads(run("ip", "-json", "-4", "route", "show"))
    taken = [
        ipaddress.IPv4Network(route["dst"])
        for route in routes
        if route["dst"] != "default" and route.get("type", "unicast") == "unicast"
    ]
    for slot in range(SLOTS):
        wanted = (Addresses(slot).link, Addresses(slot).containers)
        if not any(own.overlaps(other) for own in wanted for other in taken):
            return slot
    raise UserError(
        "no free addresses for an engine: "
        "the host already routes all of 10.251.0-15.0/30 or 10.253.0.0/16 in some part"
    )


@dataclass(frozen=True)
class Veth:
    """The veth pair of one engine, whether it exists or not, and the namespace at its other end."""

    name: str
    slot: int

    @property
    def namespace(self) -> Path:
        """The file of the network namespace."""
        return Path("/run/netns") / self.name

    @property
    def _link(self) -> str:
        return f"gpe{self.slot}host"

    def _link_exists(self) -> bool:
        return Path(f"/sys/class/net/{self._link}").exists()

    def connect(self) -> None:
        """Make the network namespace and its addresses, unless they exist, before anything runs there."""
        if not self.namespace.exists():
            run("ip", "netns", "add", self.name)
        if self._link_exists():
            return
        own, link, peer = Addresses(self.slot), self._link, self._link.replace("host", "node")
        try:
            run("ip", "-n", self.name, "link", "set", "lo", "up")
            arguments = ("type", "veth", "peer", "name", peer, "netns", self.name)
            run("ip", "link", "add", link, *arguments)
            run("ip", "-n", self.name, "addr", "add", f"{own.engine}/30", "dev", peer)
            run("ip", "-n", self.name, "link", "set", peer, "up")
            run("ip", "addr", "add", f"{own.host}/30", "dev", link)
            run("ip", "link", "set", link, "up")
            run("ip", "route", "add", str(own.containers), "via", own.engine, "dev", link)
            # dockerd that finds this switched on lets the host in: it refuses nothing that is forwarded.
            forward = "echo 1 >/proc/sys/net/ipv4/ip_forward"
            run("nsenter", f"--net={self.namespace}", "sh", "-c", forward)
        except CommandError:
            with suppress(CommandError):  # one without routes would be taken for a complete one
                run("ip", "link", "del", link)
            raise

    def remove(self) -> None:
        """Remove the pair and the namespace, if they exist."""
        if self._link_exists():
            run("ip", "link", "del", self._link)
        if self.namespace.exists():
            run("ip", "netns", "del", self.name)
