"""`docker-swarm-provisioner`: each kernel is a Docker Swarm service of one task."""

from __future__ import annotations

from gateway_provisioners.dockerd.kernels import Kernels
from gateway_provisioners.provisioners.docker import DockerProvisioner


class DockerSwarmProvisioner(DockerProvisioner):
    """Runs a kernel in a service of the kernelspec's image, on whichever node the swarm chooses."""

    @property
    def _kernels(self) -> Kernels:
        return self.services.engine.services
