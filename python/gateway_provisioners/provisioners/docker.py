"""`docker-provisioner`: each kernel is a container of a Docker engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_provisioners.model.client_policy import USER_PLACEHOLDER
from gateway_provisioners.model.container_config import KernelContainerSpec
from gateway_provisioners.model.docker_volumes import client_mounts, parse_volumes
from gateway_provisioners.model.launch_request import LaunchRequest
from gateway_provisioners.model.names import pod_name, user_label
from gateway_provisioners.model.resources import merged
from gateway_provisioners.provisioners.base import RemoteProvisioner
from gateway_provisioners.provisioners.docker_services import DockerServices
from gateway_provisioners.provisioners.traits import DockerLaunchTraits
from gateway_provisioners.provisioners.workload import Launch, Workload


class DockerProvisioner(RemoteProvisioner, DockerLaunchTraits):  # type: ignore[metaclass]
    """Runs a kernel in a container of the kernelspec's image."""

    @property
    def _services(self) -> DockerServices:
        return DockerServices.of_running_loop(self.parent)

    def _administrators_settings(self) -> Mapping[str, str]:
        ids = {"KERNEL_UID": self.run_as_user, "KERNEL_GID": self.run_as_group}
        return {name: str(value) for name, value in ids.items() if value is not None}

    async def _create_workload(self, launch: Launch) -> Workload:
        request = launch.request
        uid, gid = request.run_as_user, request.run_as_group
        spec = KernelContainerSpec(
            name=pod_name(request.username, launch.kernel_id, launch.attempt),
            instance=self._services.instance,
            kernel_id=launch.kernel_id,
            kernel_name=launch.kernel_name,
            username=request.username,
            image=self.image_name,
            environment=launch.environment,
            secret_environment=launch.secret_environment,
            attempt=launch.attempt,
            network=self._services.network,
            image_pull_policy=self.image_pull_policy,
            resources=merged(self.resources, request.resources),
            gpu_resource=self.gpu_resource,
            run_as_user=self.run_as_user if uid is None else uid,
            run_as_group=self.run_as_group if gid is None else gid,
            working_dir=request.working_dir,
            mounts=self._mounts(request),
            patch=self.container_template,
        )
        return await self._services.engine.containers.create(spec)

    def _mounts(self, request: LaunchRequest) -> list[dict[str, Any]]:
        label = user_label(request.username)
        volumes = [volume.replace(USER_PLACEHOLDER, label) for volume in self.volumes]
        return [*parse_volumes(volumes), *client_mounts(request.volumes, request.volume_mounts)]
