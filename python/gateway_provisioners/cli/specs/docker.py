"""`jupyter docker-spec install`: kernelspecs for kernels in Docker containers."""

from __future__ import annotations

from typing import Any

from traitlets import Bool

from gateway_provisioners.cli import app
from gateway_provisioners.cli.specs.installer import SpecInstaller, aliases_of, flags_of
from gateway_provisioners.model import kernelspec


class DockerSpecInstaller(SpecInstaller):
    """Installs kernelspecs for the docker-provisioner and the docker-swarm-provisioner."""

    name = "jupyter-docker-spec"
    description = (
        "Install a kernelspec whose kernels run as containers or Swarm services of a Docker engine."
    )
    examples = """
jupyter docker-spec install --image-name acme/data-sci-py:2.0 --kernel-name data_sci_py --display-name 'Data Science 2.0'
jupyter docker-spec install --language R --swarm --sys-prefix
"""  # noqa: E501  (shown unwrapped)
    name_prefix = "docker"
    title = "Docker"

    swarm = Bool(False, help="Run kernels as services of the engine's Swarm.").tag(config=True)

    aliases = aliases_of("DockerSpecInstaller")
    flags = {  # noqa: RUF012
        "swarm": ({"DockerSpecInstaller": {"swarm": True}}, str(swarm.help)),
        **flags_of("DockerSpecInstaller"),
    }

    @property
    def target(self) -> kernelspec.Target:
        return kernelspec.DOCKER_SWARM if self.swarm else kernelspec.DOCKER


class DockerSpec(app.Program):
    """The program `jupyter docker-spec`."""

    name = "jupyter docker-spec"
    description = "Manage kernelspecs whose kernels run in Docker containers."
    subcommands: dict[str, Any] = {  # noqa: RUF012
        "install": (DockerSpecInstaller, DockerSpecInstaller.description)
    }
