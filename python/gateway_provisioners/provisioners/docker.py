"""`docker-provisioner`: each kernel is a container of a Docker engine."""

from __future__ import annotations

from collections.abc import Mapping

from gateway_provisioners.dockerd.kernels import Kernels
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.model.container_config import KernelContainerSpec
from gateway_provisioners.model.docker_policy import (
    numeric_id,
    parse_client_volumes,
    parse_volumes,
)
from gateway_provisioners.model.launch_request import LaunchRequest
from gateway_provisioners.model.names import pod_name
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

    @property
    def _kernels(self) -> Kernels:
        return self._services.engine.containers

    def _adopt_workload(self, name: str) -> Workload:
        return self._kernels.adopt(name)

    def _administrators_settings(self) -> Mapping[str, str]:
        granted = {
            name: self._environment[name]
            for name in self.client_may_set
            if name in self._environment
        }
        return {
            "KERNEL_UID": str(self.run_as_user),
            "KERNEL_GID": str(self.run_as_group),
            **granted,
        }

    def _check_configuration(self) -> None:
        super()._check_configuration()
        for trait, value, prohibited in (
            ("run_as_user", self.run_as_user, self.prohibited_uids),
            ("run_as_group", self.run_as_group, self.prohibited_gids),
        ):
            if str(value) in prohibited:
                msg = f"The kernelspec {self._kernel_name!r} sets {trait} to {value}, which is prohibited."
                raise ConfigurationError(msg)

    def _parse_environment(self) -> LaunchRequest:
        request = super()._parse_environment()
        self._clients_own()  # refused now, before anything is made
        return request

    def _clients_own(self) -> tuple[int | None, int | None, list[dict[str, object]]]:
        """The user, the group and the volumes: the client's where it may choose, or the kernelspec's."""
        volumes = parse_volumes(self.volumes) + parse_client_volumes(self._environment)
        return (
            numeric_id(
                self._environment, "KERNEL_UID", self.run_as_user, prohibited=self.prohibited_uids
            ),
            numeric_id(
                self._environment, "KERNEL_GID", self.run_as_group, prohibited=self.prohibited_gids
            ),
            volumes,
        )

    async def _create_workload(self, launch: Launch) -> Workload:
        user, group, volumes = self._clients_own()
        return await self._kernels.create(
            KernelContainerSpec(
                name=pod_name(launch.request.username, launch.kernel_id, launch.attempt),
                instance=self._services.instance,
                kernel_id=launch.kernel_id,
                kernel_name=launch.kernel_name,
                username=launch.request.username,
                image=self.image_name,
                environment=launch.environment,
                secret_environment=launch.secret_environment,
                attempt=launch.attempt,
                network=self._services.network,
                image_pull_policy=self.image_pull_policy,
                resources=merged(self.resources, launch.request.resources),
                run_as_user=user,
                run_as_group=group,
                root_allowed="0" not in self.prohibited_uids,
                working_dir=launch.request.working_dir if self.mirror_working_dirs else None,
                mounts=volumes,
                constraints=self.constraints,
                patch=self.container_template,
            )
        )
