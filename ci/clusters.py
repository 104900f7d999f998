"""The cluster that the demo, the tests and the bench run on, chosen by CLUSTER.

- ``local``: one node on this machine, by ci/cluster (the default where no Docker engine answers)
- ``kind``: one node in Docker, by the kind CLI (the default where both are there)
- ``current``: the user's own kubeconfig context, only when they say so

Run as ``python -m ci.clusters up|down``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ci import debian, images, scala_launcher
from ci.builders import docker_answers
from ci.commands import CommandError, UserError, exit_code, run
from ci.paths import ROOT, cache
from ci.progress import say, step

KIND_NAME = "gateway-provisioners"
CHOICES = ("local", "kind", "current")
_PROGRAM = ROOT / "ci/cluster/cluster.sh"


@dataclass(frozen=True)
class Cluster:
    """A cluster that answers, and the programs to drive it with."""

    choice: str
    kubeconfig: Path
    kubectl: Path
    helm: Path
    # Helm 3, which the chart works with as well; None where only one Helm is installed.
    helm3: Path | None = None
    # The registry that the cluster pulls our images from; "" when they are loaded onto its node.
    registry: str = ""

    def image(self, reference: str) -> str:
        """Return the name under which the cluster finds one of our images."""
        return f"{self.registry}/{reference}" if self.registry else reference

    def load(self, archives: Iterable[Path]) -> None:
        """Put images onto the node. A cluster that pulls them from a registry does not need that."""
        load = [str(_PROGRAM), "load-image"]
        if self.choice == "kind":
            load = ["kind", "load", "image-archive", f"--name={KIND_NAME}"]
        for archive in archives:
            run(*load, archive)


def choose() -> str:
    """Return the cluster to use: CLUSTER, else the best that this machine has."""
    wish = os.environ.get("CLUSTER")
    if wish and wish not in CHOICES:
        raise UserError(f"CLUSTER={wish} is not supported; use one of: {', '.join(CHOICES)}")
    if wish:
        return wish
    return "kind" if shutil.which("kind") and docker_answers() else "local"


def _tool(name: str) -> Path:
    """Return a program that is installed, or else the local cluster's own build of it."""
    found = shutil.which(name)
    return Path(found) if found else Path(run(_PROGRAM, "bin").strip()) / name


def _program(*arguments: str) -> None:
    """Run ci/cluster, which shows its progress itself."""
    if subprocess.run([str(_PROGRAM), *arguments], check=False).returncode != 0:
        raise CommandError(f"ci/cluster/cluster.sh {arguments[0]} failed: see above")


def _local() -> Cluster:
    debian.install_missing(scala_launcher.TOOLS)
    if not docker_answers() and shutil.which("podman") is None:
        debian.install_missing(debian.IMAGE_TOOLS)
    _program("up", "--install-packages")
    programs = Path(run(_PROGRAM, "bin").strip())
    return Cluster(
        "local",
        Path(run(_PROGRAM, "kubeconfig").strip()),
        kubectl=programs / "kubectl",
        helm=programs / "helm",
        helm3=programs / "helm3",
    )


def _kind() -> Cluster:
    kubeconfig = cache() / "kind/kubeconfig"
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    if not running():
        with step(f"Create the kind cluster {KIND_NAME}"):
            run(
                "kind",
                "create",
                "cluster",
                "--name",
                KIND_NAME,
                "--wait",
                "2m",
                "--kubeconfig",
                kubeconfig,
            )
    run("kind", "export", "kubeconfig", "--name", KIND_NAME, "--kubeconfig", kubeconfig)
    return Cluster("kind", kubeconfig, kubectl=_tool("kubectl"), helm=_tool("helm"))


def _current() -> Cluster:
    registry = os.environ.get("GP_IMAGE_REGISTRY", "").rstrip("/")
    if not registry:
        names = ", ".join(image.reference for image in images.IMAGES.values() if image.deployed)
        raise UserError(
            "CLUSTER=current needs GP_IMAGE_REGISTRY: the registry that your cluster pulls from. "
            f"After `make images`, push {names} to it, each as $GP_IMAGE_REGISTRY/NAME"
        )
    kubectl = _tool("kubectl")
    context = run(kubectl, "config", "current-context").strip()
    kubeconfig = cache() / "current/kubeconfig"
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    kubeconfig.touch(mode=0o600)
    # A copy of that one context: another terminal that switches contexts must not redirect us.
    kubeconfig.write_text(run(kubectl, "config", "view", "--raw", "--minify", "--flatten"))
    say(f"  CLUSTER=current: the context {context} of your kubeconfig")
    run(kubectl, f"--kubeconfig={kubeconfig}", "get", "--raw=/readyz", "--request-timeout=10s")
    return Cluster("current", kubeconfig, kubectl=kubectl, helm=_tool("helm"), registry=registry)


def running() -> bool:
    """Return whether the chosen cluster is up."""
    choice = choose()
    if choice == "kind":
        if shutil.which("kind") is None or not docker_answers():
            raise UserError("CLUSTER=kind needs the kind CLI and a Docker engine that answers")
        return KIND_NAME in run("kind", "get", "clusters").split()
    if choice == "local":
        return (
            subprocess.run([str(_PROGRAM), "status"], capture_output=True, check=False).returncode
            == 0
        )
    return True


def host_address() -> str:
    """Return the address at which the local cluster's pods reach this host."""
    address: str = json.loads(run(_PROGRAM, "status", "--json"))["hostIP"]
    return address


def _owner_file() -> Path:
    return cache() / f"owner-of-{choose()}"


def owner() -> str:
    """Return the name that was left when the chosen cluster was brought up; "" when none was."""
    return _owner_file().read_text() if _owner_file().exists() else ""


def ensure(for_whom: str = "") -> Cluster:
    """Return the chosen cluster, brought up now unless it is.

    A caller that brings it up may leave a name, and take the cluster down later if that name is still there.
    Raises UserError for what the user has to decide or install, CommandError when it does not come up.
    """
    if not running():
        _owner_file().parent.mkdir(parents=True, exist_ok=True)
        _owner_file().write_text(for_whom)
    return {"local": _local, "kind": _kind, "current": _current}[choose()]()


def down() -> None:
    """Take the chosen cluster down, and all that runs in it. The user's own cluster is left alone."""
    choice = choose()
    if choice == "local":
        _program("down")
    elif choice == "kind":
        with step(f"Delete the kind cluster {KIND_NAME}"):
            run("kind", "delete", "cluster", "--name", KIND_NAME)
    _owner_file().unlink(missing_ok=True)


def _up() -> None:
    cluster = ensure()
    say(f"export KUBECONFIG={cluster.kubeconfig} PATH={cluster.kubectl.parent}:$PATH")


def main() -> int:
    """Bring the cluster up, or take it down."""
    parser = argparse.ArgumentParser(prog="python -m ci.clusters", description=__doc__)
    parser.add_argument("verb", choices=("up", "down"))
    return exit_code(down if parser.parse_args().verb == "down" else _up)


if __name__ == "__main__":
    sys.exit(main())
