"""The engines that the tests use: Docker's, and podman's, which has the same API.

Docker's is the one that ENGINE_HOST names, as DOCKER_HOST would, and no other. Where that is not set it is
one of this project's own, as podman's always is: without network access beyond this machine, made when it is
needed (as root, on Debian).

Run as ``python -m ci.docker_engine up|down|status|load``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tarfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from ci import images
from ci.builders import Docker
from ci.commands import CommandError, UserError, exit_code
from ci.dockerd import Dockerd
from ci.locks import one_process_at_a_time
from ci.podman_service import PodmanService
from ci.private_engine import ASK_SECONDS, PrivateEngine
from ci.progress import say, step

OWN = Dockerd("gateway-provisioners-engine")
PODMAN = PodmanService("gateway-provisioners-podman")
REMOVAL_SECONDS = 15


@dataclass(frozen=True)
class DockerEngine:
    """An engine that answers.

    ``host`` is its address, as DOCKER_HOST has it; its containers reach this machine at ``host_address``, and
    this machine reaches each of them at the container's own address.
    """

    host: str
    host_address: str

    def cli(self, *arguments: str | Path) -> str:
        """Run a command of the docker CLI on it; return its output. Raises CommandError when it fails."""
        return Docker(self.host).cli(*arguments)

    def load(self, built: Iterable[images.Built]) -> None:
        """Give it images, unless it has them."""
        # While podman loads an image a second time, the first one cannot be read.
        with one_process_at_a_time("engine-images", "loads images into an engine"):
            for image in built:
                if Docker(self.host).image_id(image.reference) != _image_id(image.archive):
                    with step(f"Load {image.reference} into the Docker engine"):
                        self.cli("load", "--quiet", "--input", image.archive)

    @contextmanager
    def swarm_network(self) -> Iterator[str]:
        """Give the name of a network of Swarm's, until the context ends, whose tasks this machine can reach.

        It is a bridge, on this one node. Raises UserError where a named engine is not in a Swarm.
        """
        if not self._in_swarm():
            if self.host != OWN.host:
                raise UserError(
                    f"the engine at {self.host} is not in a Swarm; run: docker swarm init"
                )
            try:
                self.cli("swarm", "init", "--advertise-addr", OWN.addresses.engine)
            except CommandError:
                if not self._in_swarm():  # else another process was faster
                    raise
        name = f"gp-swarm-{uuid.uuid4().hex[:8]}"
        configuration = f"{name}-configuration"
        try:
            # This machine must see the tasks' real addresses.
            masquerade = "--opt=com.docker.network.bridge.enable_ip_masquerade=false"
            self.cli("network", "create", "--config-only", masquerade, configuration)
            swarm = ("--scope=swarm", "--driver=bridge", f"--config-from={configuration}")
            self.cli("network", "create", *swarm, name)
            yield name
        finally:
            _remove_networks(self, name, configuration)

    def _in_swarm(self) -> bool:
        return self.cli("info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "active"


def _remove_networks(engine: DockerEngine, *names: str) -> None:
    """Remove networks: a node still uses one for a moment after the last task in it has ended."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while left := set(names) & set(engine.cli("network", "ls", "--format", "{{.Name}}").split()):
        try:
            engine.cli("network", "rm", *(name for name in names if name in left))
        except CommandError:
            if time.monotonic() > deadline:
                raise
        time.sleep(ASK_SECONDS)


def _image_id(archive: Path) -> str:
    """Return the id that an engine gives the image in a docker-archive."""
    with tarfile.open(archive) as content:
        [image] = json.load(cast("IO[bytes]", content.extractfile("manifest.json")))
    return "sha256:" + Path(image["Config"]).name.removesuffix(".json")


def named() -> str:
    """Return the address of the engine that the user named; "" for our own."""
    return os.environ.get("ENGINE_HOST", "")


def ensure(own: Dockerd = OWN) -> DockerEngine:
    """Return the named engine, or else our own, which is brought up now unless it is.

    Raises UserError for what the user has to decide or install, CommandError when it does not come up.
    """
    host = named()
    if not host:
        return bring_up(own)
    template = "{{(index .IPAM.Config 0).Gateway}}"
    try:
        gateway = Docker(host).cli("network", "inspect", "--format", template, "bridge").strip()
    except CommandError as error:
        raise UserError(
            f"the engine that ENGINE_HOST={host} names does not answer: {error}"
        ) from error
    return DockerEngine(host, gateway)


def bring_up(own: PrivateEngine) -> DockerEngine:
    """Bring up a closed engine of our own, unless it is up; return it. Raises what its ``up`` does."""
    own.up()
    return DockerEngine(own.host, own.addresses.host)


def _up() -> None:
    say(f"export DOCKER_HOST={ensure().host}")


def _down() -> None:
    PODMAN.down()
    if named():
        raise UserError(f"ENGINE_HOST={named()} is yours: take it down yourself")
    OWN.down()


def _status() -> None:
    if not named() and not OWN.answers():
        raise UserError("no Docker engine of our own runs; bring it up with: make engine")
    engine = ensure()
    say(f"{engine.host} answers; its containers reach this machine at {engine.host_address}")
    say(engine.cli("ps", "--format", "table {{.Names}}\t{{.Image}}\t{{.Status}}").rstrip())


def _load(references: list[str]) -> None:
    ensure().load(images.ensure(references))


def main() -> int:
    """Bring the engine up or down, show its containers, or load images into it."""
    parser = argparse.ArgumentParser(prog="python -m ci.docker_engine", description=__doc__)
    parser.add_argument("verb", choices=("up", "down", "status", "load"))
    parser.add_argument("references", nargs="*", metavar="REFERENCE", help="for load; default: all")
    given = parser.parse_args()
    verbs = {"up": _up, "down": _down, "status": _status}
    return exit_code(verbs.get(given.verb, lambda: _load(given.references)))


if __name__ == "__main__":
    sys.exit(main())
