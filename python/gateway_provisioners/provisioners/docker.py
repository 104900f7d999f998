"""`docker-provisioner`: each kernel is a container of a Docker engine."""

from __future__ import annotations

from collections.abc import Mapping

from gateway_provisioners.dockerd.kernels import Kernels
from gateway_provisioners.model.container.config import KernelContainerSpec
from gateway_provisioners.model.names import pod_name
from gateway_provisioners.model.request.mailbox import mailbox_disk
from gateway_provisioners.provisioners.base import RemoteProvisioner
from gateway_provisioners.provisioners.container_options import container_options
from gateway_provisioners.provisioners.docker_services import DockerServices
from gateway_provisioners.provisioners.launch_traits import DockerLaunchTraits
from gateway_provisioners.provisioners.workload import Launch, Workload


class DockerProvisioner(RemoteProvisioner, DockerLaunchTraits):  # type: ignore[metaclass]
    """Runs a kernel in a container of the kernelspec's image."""

    @property
    def services(self) -> DockerServices:
        return DockerServices.of_running_loop(self.parent)

    @property
    def _kernels(self) -> Kernels:
        return self.services.engine.containers

    async def adopt_workload(self, name: str) -> Workload:
        return await self._kernels.adopt(name)

    def admin_settings(self) -> Mapping[str, str]:
        ids = {"KERNEL_UID": self.run_as_user, "KERNEL_GID": self.run_as_group}
        return {name: str(value) for name, value in ids.items() if value is not None}

    async def create_workload(self, launch: Launch) -> Workload:
        request = launch.request
        spec = KernelContainerSpec(
            name=pod_name(request.username, launch.kernel_id, launch.attempt),
            instance=self.services.instance,
            kernel_id=launch.kernel_id,
            kernel_name=launch.kernel_name,
            username=request.username,
            image=self.image_name,
            environment={
                **launch.environment,
                **mailbox_disk(self.resources, {**request.environment, **launch.environment}),
            },
            secret_environment=launch.secret_environment,
            attempt=launch.attempt,
            network=self.services.network,
            pull_timeout=launch.timeout,
            ownership=self.ownership,
            **container_options(self, request),
        )
        return await self._kernels.create(spec, launch.progress)
