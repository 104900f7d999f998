"""`kubernetes-provisioner`: each kernel is a Pod."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from gateway_provisioners.model.names import pod_name
from gateway_provisioners.model.pod.manifest import KernelPodSpec, build_marks
from gateway_provisioners.model.request.launch_request import request_variables
from gateway_provisioners.model.request.mailbox import mailbox_disk
from gateway_provisioners.provisioners.base import RemoteProvisioner
from gateway_provisioners.provisioners.http_errors import as_http_errors
from gateway_provisioners.provisioners.kubernetes_services import KubernetesServices
from gateway_provisioners.provisioners.launch_script import (
    KernelspecPrograms,
    replaced_script,
    run_launch_script,
)
from gateway_provisioners.provisioners.launch_traits import KubernetesLaunchTraits
from gateway_provisioners.provisioners.pod_options import pod_options
from gateway_provisioners.provisioners.workload import Launch, Workload


class KubernetesProvisioner(RemoteProvisioner, KubernetesLaunchTraits):  # type: ignore[metaclass]
    """Runs a kernel in a Pod of the kernelspec's image."""

    _has_own_script = False

    @property
    def services(self) -> KubernetesServices:
        return KubernetesServices.of_running_loop(self.parent)

    async def adopt_workload(self, name: str) -> Workload:
        return self.services.pods.adopt(name)

    def admin_settings(self) -> Mapping[str, str]:
        return {
            "KERNEL_NAMESPACE": self.services.namespace,
            **_identity(self.service_account_name, self.run_as_user, self.run_as_group),
        }

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        kwargs = await super().pre_launch(**kwargs)
        script = await asyncio.to_thread(replaced_script, self.kernel_spec)
        self._has_own_script = script is not None
        if script is not None:
            # Not `self`, which the kernelspec configures.
            programs = KernelspecPrograms(parent=self.parent)
            with as_http_errors():
                programs.check(
                    f"Kernel {self._kernel_name!r} has a launch script of its own, {script}"
                )
        return kwargs

    async def create_workload(self, launch: Launch) -> Workload:
        spec = KernelPodSpec(
            name=pod_name(launch.request.username, launch.kernel_id, launch.attempt),
            namespace=self.services.namespace,
            instance=self.services.instance,
            kernel_id=launch.kernel_id,
            kernel_name=launch.kernel_name,
            username=launch.request.username,
            image=self.image_name,
            environment={
                **launch.environment,
                **mailbox_disk(
                    self.resources, {**launch.request.environment, **launch.environment}
                ),
                "KERNEL_NAMESPACE": self.services.namespace,
            },
            secret_environment=launch.secret_environment,
            operator=self.services.process,
            attempt=launch.attempt,
            owner=self.services.owner,
            ownership=self.ownership,
            **pod_options(self, launch.request),
        )
        if self._has_own_script:
            self.services.pods.refuse_beyond_quota(spec)
            return await self._run_own_script(spec, launch)
        return await self.services.pods.create(spec, launch.progress, timeout=launch.wait_timeout)

    async def _run_own_script(self, spec: KernelPodSpec, launch: Launch) -> Workload:
        marks = build_marks(spec)
        variables = {**launch.request.environment, **spec.environment}
        environment = {
            **{name: value for name, value in variables.items() if name.startswith("KERNEL_")},
            **_identity(spec.service_account_name, spec.run_as_user, spec.run_as_group),
            **request_variables(spec.resources, gpu_resource=self.gpu_resource),
            "KERNEL_POD_NAME": spec.name,
            "KERNEL_IMAGE": self.image_name,
            "KERNEL_EXECUTOR_IMAGE": self.executor_image_name,
            "KERNEL_POD_METADATA": json.dumps(marks),
        }
        values = {
            "kernel_id": launch.kernel_id,
            "port_range": self.port_range,
            "response_address": spec.environment["RESPONSE_ADDRESS"],
            "public_key": spec.environment["PUBLIC_KEY"],
        }
        pod = self.services.pods.expect(spec.name)
        try:
            await run_launch_script(self.kernel_spec.argv, values, environment)
            await pod.mark(marks)
        except BaseException:
            pod.remove_soon()
            raise
        return pod


def _identity(service_account: str, uid: int | None, gid: int | None) -> dict[str, str]:
    """Return the KERNEL_* variables of a kernel's service account and ids; None: the image's id."""
    ids = {"KERNEL_UID": uid, "KERNEL_GID": gid}
    return {
        "KERNEL_SERVICE_ACCOUNT_NAME": service_account or "default",
        **{name: str(value) for name, value in ids.items() if value is not None},
    }
