"""The project of examples/docker on an engine of choice: its files, and `docker compose` for them.

Compose itself is made from the Go module proxy, so that the same one runs wherever the demo and the tests do.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from ci import docker_engine, go_programs, images
from ci.commands import UserError, run
from ci.docker_engine import DockerEngine
from ci.paths import ROOT

FILES = ROOT / "examples/docker"
IMAGES = (images.GATEWAY, images.ENGINE_PROXY)
KERNELSPECS = "/usr/local/share/jupyter/kernels"
_SOURCE = ROOT / "ci/compose"
_VERSION = "v2.40.3"  # as in go.mod; compose prints what it is built with


def _program() -> Path:
    version = f"-X github.com/docker/compose/v2/internal.Version={_VERSION}"
    package = "github.com/docker/compose/v2/cmd"
    return go_programs.ensure(_SOURCE, package, "docker-compose", version)


@dataclass(frozen=True)
class Project:
    """A project by its name, on an engine that has its images; all its files are in `folder`."""

    engine: DockerEngine
    name: str
    folder: Path

    def write_files(self, port: int) -> None:
        """Copy the example, and make its settings, unless that was done.

        Args:
            port: the gateway's port on the engine's machine; 0 for any.

        Raises UserError for an engine without a socket on this machine.
        """
        scheme, _, socket = self.engine.host.partition("://")
        if scheme != "unix":
            raise UserError(f"the engine at {self.engine.host} has no socket here to mount")
        shutil.copytree(FILES, self.folder, dirs_exist_ok=True)
        if not self._settings.exists():
            settings = {
                "KG_AUTH_TOKEN": secrets.token_hex(32),
                "ENGINE_SOCKET": socket,
                "GATEWAY_PORT": port,
            }
            self._settings.touch(mode=0o600)
            self._settings.write_text(
                "".join(f"{key}={value}\n" for key, value in settings.items())
            )

    @property
    def _settings(self) -> Path:
        return self.folder / ".env"

    @property
    def token(self) -> str:
        """The token that clients of the gateway send."""
        lines = self._settings.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)["KG_AUTH_TOKEN"]

    def add_kernel(
        self, name: str, image: str, display_name: str, language: str = "python"
    ) -> None:
        """Make a kernelspec, as docs/docker.md says: with the gateway's image, into the mounted folder."""
        self.engine.cli(
            *("run", "--rm", f"--user={os.getuid()}:{os.getgid()}", "--network=none"),
            f"--volume={self.folder}/kernelspecs:{KERNELSPECS}",
            *(images.GATEWAY.reference, "jupyter", "docker-spec", "install", "--replace"),
            *(f"--image-name={image}", f"--kernel-name={name}"),
            *(f"--display-name={display_name}", f"--language={language}"),
        )

    def compose(self, *arguments: str) -> str:
        """Run `docker compose`; return its output. Raises CommandError when it fails."""
        environment = {
            name: os.environ[name]
            for name in ("HOME", "PATH", "DOCKER_CONFIG")
            if name in os.environ
        }
        environment["DOCKER_HOST"] = self.engine.host
        place = (f"--project-name={self.name}", f"--project-directory={self.folder}")
        return run(_program(), *place, *arguments, env=environment)

    def up(self) -> None:
        """Start what does not run yet; return when the gateway is ready."""
        self.compose("up", "--detach", "--no-build", "--wait", "--quiet-pull")

    def down(self) -> None:
        """Remove all of it, its kernels as well."""
        self.compose("stop")
        label = f"label=gateway-provisioners.instance={self.name}"
        if kernels := self.engine.cli("ps", "--all", "--quiet", "--filter", label).split():
            self.engine.cli("rm", "--force", "--volumes", *kernels)
        self.compose("down", "--volumes")
        shutil.rmtree(self.folder)

    def gateway_url(self) -> str:
        """The address at which this machine reaches the gateway.

        An engine of ours publishes ports in its own network namespace: there it is the container's address.
        """
        if docker_engine.named():
            return f"http://{self.compose('port', 'gateway', '8888').strip()}"
        template = f'{{{{(index .NetworkSettings.Networks "{self.name}_kernels").IPAddress}}}}'
        container = self.compose("ps", "--quiet", "gateway").strip()
        address = self.engine.cli("inspect", "--format", template, container).strip()
        return f"http://{address}:8888"
