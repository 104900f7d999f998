"""The options of a kernel's Pod, from a kernelspec's settings and a client's request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from gateway_provisioners.model.names import user_label
from gateway_provisioners.model.request.client_policy import USER_PLACEHOLDER
from gateway_provisioners.model.request.launch_request import LaunchRequest
from gateway_provisioners.model.request.resources import merged
from gateway_provisioners.provisioners.launch_traits import KubernetesLaunchTraits

T = TypeVar("T")


def pod_options(settings: KubernetesLaunchTraits, request: LaunchRequest) -> dict[str, Any]:
    """Return the fields of `KernelPodSpec` that a kernelspec and a request determine."""
    label = user_label(request.username)
    uid, gid = request.run_as_user, request.run_as_group
    return {
        "image_pull_policy": settings.image_pull_policy,
        "image_pull_secrets": settings.image_pull_secrets,
        "resources": merged(settings.resources, request.resources),
        "gpu_resource": settings.gpu_resource,
        "pod_fields": {
            "nodeSelector": settings.node_selector,
            "tolerations": settings.tolerations,
            "affinity": settings.affinity,
            "runtimeClassName": settings.runtime_class_name,
            "priorityClassName": settings.priority_class_name,
        },
        "env_from": settings.env_from,
        "volumes": [*_of_user(settings.volumes, label), *request.volumes],
        "volume_mounts": [*_of_user(settings.volume_mounts, label), *request.volume_mounts],
        "service_account_name": request.service_account_name or settings.service_account_name,
        "run_as_user": settings.run_as_user if uid is None else uid,
        "run_as_group": settings.run_as_group if gid is None else gid,
        # Not the client's: the files of a shared volume would change their group with each client.
        "fs_group": settings.run_as_group,
        "working_dir": request.working_dir,
        "evictable": settings.evictable,
        "patch": settings.pod_template,
    }


def _of_user(value: T, label: str) -> T:
    """Return `value` with the user's label in place of the placeholder in each of its strings.

    A label that contains the placeholder is not searched again. As a DNS label, it stays one part of a
    name or of a path, whatever the user's name.
    """
    if isinstance(value, str):
        return value.replace(USER_PLACEHOLDER, label)  # type: ignore[return-value]
    if isinstance(value, Mapping):
        return {key: _of_user(item, label) for key, item in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [_of_user(item, label) for item in value]  # type: ignore[return-value]
    return value
