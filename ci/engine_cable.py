"""The network of a closed engine: a namespace, with one cable to the host and no way out."""

from __future__ import annotations

import ipaddress
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ci.commands import CommandError, UserError, run

# How many closed engines can share a machine: each has addresses of its own, which the host routes to it.
SLOTS = 16


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
    def bridge(self) -> ipaddress.IPv4Network:
        """Those on the network that is there from the start: a /24 of the lower half."""
        return next(self.containers.subnets(new_prefix=24))

    @property
    def pool(self) -> ipaddress.IPv4Network:
        """Those of networks that are made later: the upper half."""
        return list(self.containers.subnets())[1]


def free_slot() -> int:
    """Return the first slot none of whose addresses the host uses or routes.

    Raises UserError when there is none.
    """
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
        "no free addresses for an engine: "
        "the host already routes all of 10.251.0-15.0/30 or 10.253.0.0/16 in some part"
    )


@dataclass(frozen=True)
class Cable:
    """The cable of one engine, whether it is there or not, and the namespace at its end."""

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
        """Make the network namespace, with addresses before anything runs there; unless it is there."""
        if not self.namespace.exists():
            run("ip", "netns", "add", self.name)
        if self._link_exists():
            return
        own, link, peer = Addresses(self.slot), self._link, self._link.replace("host", "node")
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
            run("nsenter", f"--net={self.namespace}", "sh", "-c", forward)
        except CommandError:
            with suppress(CommandError):  # half a cable would be taken for a whole one
                run("ip", "link", "del", link)
            raise

    def remove(self) -> None:
        """Remove what there is of it."""
        if self._link_exists():
            run("ip", "link", "del", self._link)
        if self.namespace.exists():
            run("ip", "netns", "del", self.name)
