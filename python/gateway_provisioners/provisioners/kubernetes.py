"""`kubernetes-provisioner`: each kernel is a Pod."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway_provisioners.model.launch_request import request_variables
from gateway_provisioners.model.names import pod_name
from gateway_provisioners.model.pod_manifest import KernelPodSpec, build_marks
from gateway_provisioners.model.resources import merged
from gateway_provisioners.provisioners.base import RemoteProvisioner
from gateway_provisioners.provisioners.launch_script import replaced_script, run_launch_script
from gateway_provisioners.provisioners.services import KubernetesServices
from gateway_provisioners.provisioners.traits import KubernetesLaunchTraits
from gateway_provisioners.provisioners.workload import Launch, Workload


class KubernetesProvisioner(RemoteProvisioner, KubernetesLaunchTraits):  # type: ignore[metaclass]
    """Runs a kernel in a Pod of the kernelspec's image."""

    @property
    def _services(self) -> KubernetesServices:
        return KubernetesServices.of_running_loop(self.parent)

    def _administrators_settings(self) -> Mapping[str, str]:
        return {
            "KERNEL_NAMESPACE": self._services.namespace,
            "KERNEL_SERVICE_ACCOUNT_NAME": self.service_account_name or "default",
            "KERNEL_UID": str(self.run_as_user),
            "KERNEL_GID": str(self.run_as_group),
        }

    def _adopt_workload(self, name: str) -> Workload:
        return self._services.pods.adopt(name)

    async def _create_workload(self, launch: Launch) -> Workload:
        spec = KernelPodSpec(
            name=pod_name(launch.request.username, launch.kernel_id, launch.attempt),
            namespace=self._services.namespace,
            instance=self._services.instance,
            kernel_id=launch.kernel_id,
            kernel_name=launch.kernel_name,
            username=launch.request.username,
            image=self.image_name,
            environment={**launch.environment, "KERNEL_NAMESPACE": self._services.namespace},
            secret_environment=launch.secret_environment,
            operator=self._services.process,
            attempt=launch.attempt,
            image_pull_policy=self.image_pull_policy,
            image_pull_secrets=self.image_pull_secrets,
            resources=merged(self.resources, launch.request.resources),
            node_selector=self.node_selector,
            tolerations=self.tolerations,
            service_account_name=self.service_account_name,
            run_as_user=self.run_as_user,
            run_as_group=self.run_as_group,
            working_dir=launch.request.working_dir if self.mirror_working_dirs else None,
            owner=self._services.owner,
            patch=self.pod_template,
        )
        if await asyncio.to_thread(replaced_script, self.kernel_spec.argv):
            self._services.pods.refuse_beyond_limits(spec)
            return await self._run_own_script(spec, launch)
        return await self._services.pods.create(spec)

    async def _run_own_script(self, spec: KernelPodSpec, launch: Launch) -> Workload:
        clients = launch.request.environment
        environment = {
            **{name: value for name, value in clients.items() if name.startswith("KERNEL_")},
            **{
                name: value
                for name, value in spec.environment.items()
                if name.startswith("KERNEL_")
            },
            **self._administrators_settings(),
            **request_variables(spec.resources),
            "KERNEL_POD_NAME": spec.name,
            "KERNEL_IMAGE": self.image_name,
            "KERNEL_EXECUTOR_IMAGE": self.executor_image_name,
        }
        values = {
            "kernel_id": launch.kernel_id,
            "port_range": self.port_range,
            "response_address": spec.environment["RESPONSE_ADDRESS"],
            "public_key": spec.environment["PUBLIC_KEY"],
        }
        pod = self._services.pods.expect(spec.name)
        try:
            await run_launch_script(self.kernel_spec.argv, values, environment)
            await pod.mark(build_marks(spec))
        except BaseException:
            pod.discard_soon()
            raise
        return pod
