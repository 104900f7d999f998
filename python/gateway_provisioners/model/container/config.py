"""A launch in the form of the Docker API: pure functions from data to data.

Values of the client never become structure. They reach the container in a file (`secrets_script`), or as
the one checked value of a field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners.model.container.limits import (
    STORAGE,
    container_limits,
    log_options,
    service_resources,
)
from gateway_provisioners.model.container.secrets_script import (
    archive,
    command_with_file,
    file_content,
    split_environment,
)
from gateway_provisioners.model.failures import GRACE_SECONDS
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.patch import apply_patch
from gateway_provisioners.model.request.client_policy import DEFAULT_GPU_RESOURCE

COMPONENT_LABEL = "component"
COMPONENT = "kernel"
KERNEL_ID_LABEL = "kernel_id"
INSTANCE_LABEL = "gateway-provisioners.instance"
NAME_LABEL = "gateway-provisioners.name"
KERNEL_NAME_LABEL = "gateway-provisioners.kernel-name"
USERNAME_LABEL = "gateway-provisioners.username"

_SECRETS_PATH = "/.gateway-provisioners/environment"
_SERVICE_SECRET = "kernel-environment"  # noqa: S105 - the name of a file below /run/secrets
_SERVICE_SECRETS_PATH = f"/run/secrets/{_SERVICE_SECRET}"

# The command of every kernel image, for a service whose image this node does not have.
_DEFAULT_COMMAND = ("/usr/local/bin/bootstrap-kernel.sh",)

_NANO = 10**9
# The image's check, which may be for a server that does not run here, would end tasks of a Swarm.
_NO_HEALTH_CHECK = {"Test": ["NONE"]}
# The one that ends launchers. An image may name another one, such as SIGINT, which only interrupts kernels.
_STOP_SIGNAL = "SIGTERM"


@dataclass(frozen=True)
class KernelContainerSpec:
    """Everything that a kernel's container or service is built from.

    Attributes:
        environment: literal variables; nothing secret.
        secret_environment: variables that `docker inspect` must not show.
        attempt: 1 for the start, one more for each restart.
        network: the container network on which the gateway reaches it.
        pull_timeout: seconds to wait for the image to be pulled; None: as long as it takes.
        resources: requests and limits as Kubernetes writes them.
        gpu_resource: the name of a GPU in `resources`.
        run_as_user, run_as_group: numeric ids, or None to use the image's.
        mounts: as in the API's HostConfig.Mounts.
        pids_limit: of processes and threads; 0 for none.
        log_max_bytes, log_max_files: the size of one file of the log, 0 for the engine's own setting, and how
            many the engine keeps.
        constraints: Swarm's, for the nodes that may run it.
        ownership: whose kernel it is.
        patch: the administrator's patch on the body of the API request.
    """

    name: str
    instance: str
    kernel_id: str
    kernel_name: str
    username: str
    image: str
    environment: Mapping[str, str]
    secret_environment: Mapping[str, str] = field(repr=False)
    attempt: int = 1
    network: str = "bridge"
    image_pull_policy: str = "IfNotPresent"
    pull_timeout: float | None = None
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    gpu_resource: str = DEFAULT_GPU_RESOURCE
    run_as_user: int | None = 1000
    run_as_group: int | None = 100
    working_dir: str | None = None
    mounts: Sequence[Mapping[str, Any]] = ()
    pids_limit: int = 4096
    log_max_bytes: int = 10 * 2**20
    log_max_files: int = 3
    constraints: Sequence[str] = ()
    ownership: Ownership = Ownership()  # noqa: RUF009 - frozen
    patch: Mapping[str, Any] = field(default_factory=dict)


def labels(kernel: KernelContainerSpec) -> dict[str, str]:
    """The labels of a kernel's container; earlier gateways used the last two."""
    return {
        INSTANCE_LABEL: kernel.instance,
        NAME_LABEL: kernel.name,
        KERNEL_NAME_LABEL: kernel.kernel_name,
        USERNAME_LABEL: kernel.username,
        "gateway-provisioners.attempt": str(kernel.attempt),
        KERNEL_ID_LABEL: kernel.kernel_id,
        COMPONENT_LABEL: COMPONENT,
    }


def label_filters(instance: str) -> list[str]:
    """The labels that all kernels of an instance have in common, as a filter of the API."""
    return [f"{COMPONENT_LABEL}={COMPONENT}", f"{INSTANCE_LABEL}={instance}"]


def image_command(image: Mapping[str, Any]) -> list[str]:
    """The command that a container of an inspected image runs."""
    config = image.get("Config") or {}
    return [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]


def runs_as_root(kernel: KernelContainerSpec, image: Mapping[str, Any]) -> bool:
    """Return whether the kernel would run as root."""
    if kernel.run_as_user is not None:
        return kernel.run_as_user == 0
    user = _images_user(image)
    return user == "root" or not user.strip("0")


def build_container(
    kernel: KernelContainerSpec, image: Mapping[str, Any], *, log_driver: str = ""
) -> dict[str, Any]:
    """The body of a container's creation.

    Args:
        image: the inspected image.
        log_driver: the engine's own; "" if it is not known.
    """
    host: dict[str, Any] = {
        "NetworkMode": kernel.network,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "RestartPolicy": {"Name": "no"},
        "Mounts": [dict(mount) for mount in kernel.mounts],
        **container_limits(kernel.resources, gpu_resource=kernel.gpu_resource),
    }
    if kernel.pids_limit:
        host["PidsLimit"] = kernel.pids_limit
    options = _log_options(kernel, log_driver)
    if options and "LogConfig" not in (kernel.patch.get("HostConfig") or {}):
        host["LogConfig"] = {"Type": log_driver, "Config": options}
    first, *others = command_with_file(_SECRETS_PATH, image_command(image))
    container: dict[str, Any] = {
        "Image": kernel.image,
        "Labels": labels(kernel),
        "Env": _literal_environment(kernel),
        "Entrypoint": [first],
        "Cmd": others,
        "Healthcheck": dict(_NO_HEALTH_CHECK),
        "StopSignal": _STOP_SIGNAL,
        "StopTimeout": GRACE_SECONDS,
        "HostConfig": host,
    }
    if user := _user(kernel, image):
        container["User"] = user
    if kernel.working_dir:
        container["WorkingDir"] = kernel.working_dir
    return apply_patch(container, kernel.patch)


def build_service(
    kernel: KernelContainerSpec,
    image: Mapping[str, Any],
    *,
    secret_id: str,
    log_driver: str = "",
) -> dict[str, Any]:
    """The body of a Swarm service's creation: one task that is never started again.

    Args:
        image: the inspected image; empty where this node does not have it.
        secret_id: the id of the Swarm secret `kernel.name`, which holds `secrets_file`.
        log_driver: the engine's own; "" if it is not known.
    """
    container: dict[str, Any] = {
        "Image": kernel.image,
        "Labels": labels(kernel),
        "Env": _literal_environment(kernel),
        "Command": command_with_file(
            _SERVICE_SECRETS_PATH, image_command(image) or _DEFAULT_COMMAND
        ),
        "Mounts": [dict(mount) for mount in kernel.mounts],
        "Secrets": [
            {
                "SecretID": secret_id,
                "SecretName": kernel.name,
                "File": {"Name": _SERVICE_SECRET, "UID": "0", "GID": "0", "Mode": 0o444},
            }
        ],
        "Healthcheck": dict(_NO_HEALTH_CHECK),
        "CapabilityDrop": ["ALL"],
        "StopSignal": _STOP_SIGNAL,
        "StopGracePeriod": GRACE_SECONDS * _NANO,
    }
    if user := _user(kernel, image):
        container["User"] = user
    if kernel.working_dir:
        container["Dir"] = kernel.working_dir
    task: dict[str, Any] = {
        "ContainerSpec": container,
        "Resources": service_resources(
            kernel.resources, gpu_resource=kernel.gpu_resource, pids_limit=kernel.pids_limit
        ),
        "RestartPolicy": {"Condition": "none"},
        "Placement": {"Constraints": list(kernel.constraints)},
        "Networks": [{"Target": kernel.network}],
    }
    options = _log_options(kernel, log_driver)
    if options and "LogDriver" not in (kernel.patch.get("TaskTemplate") or {}):
        task["LogDriver"] = {"Name": log_driver, "Options": options}
    service = {
        "Name": kernel.name,
        "Labels": labels(kernel),
        "TaskTemplate": task,
        "Mode": {"Replicated": {"Replicas": 1}},
        # Kernels are reached at the addresses of their tasks; a virtual address would not work.
        "EndpointSpec": {"Mode": "dnsrr"},
    }
    return apply_patch(service, kernel.patch)


def asks_for_storage(kernel: KernelContainerSpec) -> bool:
    """Return whether the kernelspec limits the container's storage."""
    return STORAGE in kernel.resources.get("limits", {})


def secrets_file(kernel: KernelContainerSpec) -> bytes:
    """The file with the variables that the container's environment must not show."""
    secret, _ = split_environment(kernel.secret_environment)
    literal = kernel.environment
    return file_content({name: secret[name] for name in secret if name not in literal})


def secrets_archive(kernel: KernelContainerSpec) -> bytes:
    """A tar of the secrets file for the container's root."""
    return archive(_SECRETS_PATH, secrets_file(kernel))


def _literal_environment(kernel: KernelContainerSpec) -> list[str]:
    _, unassignable = split_environment(kernel.secret_environment)
    return [f"{name}={value}" for name, value in {**unassignable, **kernel.environment}.items()]


def _user(kernel: KernelContainerSpec, image: Mapping[str, Any]) -> str:
    """`user[:group]` as the API takes it; "" for the image's."""
    user = _images_user(image) if kernel.run_as_user is None else str(kernel.run_as_user)
    if kernel.run_as_group is None:
        return "" if kernel.run_as_user is None else user
    return f"{user}:{kernel.run_as_group}"


def _images_user(image: Mapping[str, Any]) -> str:
    return str((image.get("Config") or {}).get("User") or "").partition(":")[0]


def _log_options(kernel: KernelContainerSpec, driver: str) -> dict[str, str]:
    return log_options(driver, max_bytes=kernel.log_max_bytes, max_files=kernel.log_max_files)
