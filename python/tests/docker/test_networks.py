"""The address that kernels report to, on a machine that is offline or whose own address changes."""

import contextlib
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from kernel_host import Host

from ci import docker_engine, images
from ci.builders import Docker
from ci.commands import run
from ci.dockerd import Dockerd
from ci.podman_service import PodmanService

TESTS = Path(__file__).parents[1]


class Laptop:
    """A machine with an engine of its own, and a process on it that starts kernels."""

    def __init__(self, own, folder, settings):
        self.namespace = own.name
        self.host = Host(docker_engine.bring_up(own), folder, "docker-provisioner")
        self.host.engine.load(images.ensure([images.KERNEL_PY.reference]))
        environment = {
            **os.environ,
            **settings,
            "DOCKER_HOST": own.host,
            "GP_INSTANCE": self.host.instance,
            "PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS / "docker", TESTS.parents[1]))),
        }
        program = (TESTS / "docker/host_program.py", folder, self.host.instance)
        self._log = folder / "log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", own.name, sys.executable, *program],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def start_kernel(self):
        """One more kernel; return how many answer then, or why it did not start."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() or self._log.read_text()

    def ip(self, *command):
        run("ip", "-n", self.namespace, *command)

    def response_hosts(self):
        """The addresses that the launchers of all kernels were given."""
        variables = (v for each in self.host.containers() for v in each["Config"]["Env"])
        return {v.split("=")[1].split(":")[0] for v in variables if v.startswith("RESPONSE_ADDR")}


@contextlib.contextmanager
def engine_of_its_own(kind):
    own = kind(f"gp-test-{uuid.uuid4().hex[:8]}")
    try:
        own.up()
        yield own
    finally:
        own.down()


@contextlib.contextmanager
def running(laptop):
    """Its process, until its kernels are gone."""
    with laptop.process:
        yield
    laptop.host.wait_gone()


def no_settings(_bridge):
    return {}


def settings_for_podman(bridge):
    """The bridge that podman makes with its first container, which has no address before that."""
    return {"GP_RESPONSE_IP": str(bridge[1]), "GP_RESPONSE_ADDR_ANY": "true"}


@pytest.mark.parametrize(
    ("kind", "settings"), [(Dockerd, no_settings), (PodmanService, settings_for_podman)]
)
def test_kernels_start_offline_and_after_a_change_of_address(kind, settings, tmp_path):
    with engine_of_its_own(kind) as own:
        laptop = Laptop(own, tmp_path, settings(own.addresses.bridge))
        with running(laptop):
            # Offline: the machine has no default route.
            assert laptop.start_kernel() == "1\n"

            laptop.ip("link", "add", "wifi", "type", "veth", "peer", "name", "router")
            laptop.ip("link", "set", "router", "up")
            laptop.ip("link", "set", "wifi", "up")
            for count, address in enumerate(("198.51.100.5", "203.0.113.7"), 2):
                laptop.ip("address", "flush", "dev", "wifi")
                laptop.ip("address", "add", f"{address}/24", "dev", "wifi")
                laptop.ip("route", "add", "default", "dev", "wifi")
                assert laptop.start_kernel() == f"{count}\n"

            assert laptop.response_hosts() == {str(own.addresses.bridge[1])}


@pytest.mark.parametrize("network", ["inside", "host"])
def test_kernels_start_on_networks_without_a_way_out(network, tmp_path):
    with engine_of_its_own(Dockerd) as own:
        Docker(own.host).cli("network", "create", "--internal", "inside")
        laptop = Laptop(own, tmp_path, {"GP_DOCKER_NETWORK": network})
        with running(laptop):
            assert laptop.start_kernel() == "1\n"
