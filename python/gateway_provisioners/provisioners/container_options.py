"""The options of a kernel's container, from a kernelspec's settings and a client's request."""

from __future__ import annotations

from typing import Any

from gateway_provisioners.model.container.volumes import client_mounts, parse_volumes
from gateway_provisioners.model.names import user_label
from gateway_provisioners.model.request.client_policy import USER_PLACEHOLDER
from gateway_provisioners.model.request.launch_request import LaunchRequest
from gateway_provisioners.model.request.resources import merged
from gateway_provisioners.provisioners.launch_traits import DockerLaunchTraits


def container_options(settings: DockerLaunchTraits, request: LaunchRequest) -> dict[str, Any]:
    """Return the fields of `KernelContainerSpec` that a kernelspec and a request determine."""
    label = user_label(request.username)
    uid, gid = request.run_as_user, request.run_as_group
    volumes = [volume.replace(USER_PLACEHOLDER, label) for volume in settings.volumes]
    return {
        "image_pull_policy": settings.image_pull_policy,
        "resources": merged(settings.resources, request.resources),
        "gpu_resource": settings.gpu_resource,
        "run_as_user": settings.run_as_user if uid is None else uid,
        "run_as_group": settings.run_as_group if gid is None else gid,
        "working_dir": request.working_dir,
        "mounts": [
            *parse_volumes(volumes),
            *client_mounts(request.volumes, request.volume_mounts),
        ],
        "pids_limit": settings.pids_limit,
        "log_max_bytes": settings.log_max_bytes,
        "log_max_files": settings.log_max_files,
        "constraints": settings.constraints,
        "patch": settings.container_template,
    }
