"""A container as a Docker engine reports it, explained to the kernel's user: pure.

The form is that of `docker inspect` (https://docs.docker.com/reference/api/engine/): State, Config,
HostConfig, NetworkSettings. Comments name the differences of podman.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.failures import (
    EXIT_CODE_OF_KILLED,
    NOT_REPORTED,
    container_cannot_run,
    container_exited,
    image_failure,
    killed_for_memory,
    out_of_memory,
    sentence,
)
from gateway_provisioners.model.launch_progress import Phase, Stage
from gateway_provisioners.model.request.quantity import binary_quantity

# podman's "stopped": it has not cleaned up after the container, but the exit code is known.
_ENDED = frozenset({"exited", "dead", "removing", "stopped"})

_FIRST_PODMAN_THAT_REPORTS_OOM = 5
_SNAPSHOTTER = "io.containerd.snapshotter.v1"


def exit_code(container: Mapping[str, Any]) -> int | None:
    """The kernel's exit code, or None while the container may be alive."""
    state = _state(container)
    return int(state.get("ExitCode", 0)) if state.get("Status") in _ENDED else None


def addresses(container: Mapping[str, Any]) -> Sequence[str]:
    """The container's addresses on its networks; [""] if it uses its host's, empty before it has any.

    Those on the network that it was created on come first.
    """
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    if "host" in networks:
        return [""]
    first = (container.get("HostConfig") or {}).get("NetworkMode")
    found = (
        networks[name].get(kind)
        for name in sorted(networks, key=lambda name: name != first)
        for kind in ("IPAddress", "GlobalIPv6Address")
    )
    return [str(address) for address in found if address]


def start_failure(container: Mapping[str, Any]) -> LaunchFailed | None:
    """Explain why this container will not become a kernel; None while it still may."""
    code = exit_code(container)
    if code is None:
        return None
    if _state(container).get("OOMKilled"):
        return out_of_memory(memory_limit(container))
    return container_exited(code)


def end_cause(container: Mapping[str, Any]) -> str | None:
    """Explain the end of a kernel that was running; None if only its exit code is known."""
    if not _state(container).get("OOMKilled"):
        return None
    return killed_for_memory(memory_limit(container))


def memory_limit(container: Mapping[str, Any]) -> str:
    """Return the limit as a quantity; "" if it has none."""
    limit = (container.get("HostConfig") or {}).get("Memory") or 0
    return binary_quantity(int(limit)) if limit else ""


def is_podman(info: Mapping[str, Any]) -> bool:
    """Return whether the engine with this `docker info` is podman."""
    return "BuildahVersion" in info


def reports_oom(info: Mapping[str, Any]) -> bool:
    """Return whether that engine reports OOMKilled: podman before 5 always reports false."""
    version = re.match(r"([0-9]{1,9})(\.|$)", str(info.get("ServerVersion", "")))
    is_old = version is not None and int(version[1]) < _FIRST_PODMAN_THAT_REPORTS_OOM
    return not (is_podman(info) and is_old)


def with_likely_oom(container: Mapping[str, Any]) -> dict[str, Any]:
    """A container with a guess of OOMKilled: it has a memory limit, and it was killed."""
    limit = (container.get("HostConfig") or {}).get("Memory")
    oom = bool(limit) and exit_code(container) == EXIT_CODE_OF_KILLED
    return {**container, "State": {**_state(container), "OOMKilled": oom}}


def progress(container: Mapping[str, Any]) -> Stage:
    """Describe how far the container has come, for a user who waits for it."""
    if _state(container).get("Status") == "running":
        return Stage(Phase.RUNNING, NOT_REPORTED)
    state = _state(container).get("Status", "being created")
    return Stage(Phase.CREATING, f"The kernel's container is still {state}.")


def refusal(status: int, message: str, *, image: str, network: str) -> LaunchFailed:
    """Explain the engine's refusal to create or to start a container or service.

    Args:
        status: the HTTP status; 0 where no answer came.
        message: the engine's sentence.
    """
    lower = message.lower()
    if status == 0:
        return LaunchFailed("Engine", f"{sentence(message)} Try again soon.")
    if "no such image" in lower or "pull access denied" in lower or "manifest" in lower:
        return image_missing(image, message)
    if "swarm manager" in lower:
        return LaunchFailed(
            "NoSwarm",
            f"The engine runs no services: {sentence(message)} Run `docker swarm init` there, or use a "
            "kernelspec of the docker-provisioner.",
        )
    if "network" in lower and "not found" in lower:
        return LaunchFailed(
            "NetworkMissing",
            f"The engine has no network {network!r}: {sentence(message)} "
            "Create it, or correct GP_DOCKER_NETWORK.",
        )
    if "storage-opt" in lower or "storage option" in lower:
        return storage_unlimited(message)
    if "mount" in lower:
        return volume_missing(message)
    return container_cannot_run(message)


def podman_has_no_swarm() -> LaunchFailed:
    """Podman was asked for a Swarm service."""
    return LaunchFailed(
        "NoSwarm",
        "The engine runs no services: it is podman. Use a kernelspec of the docker-provisioner.",
    )


def would_be_ignored(config: Mapping[str, Any], info: Mapping[str, Any]) -> LaunchFailed | None:
    """The failure of a container for which the engine with this `docker info` would ignore a setting."""
    host = config.get("HostConfig") or {}
    requests = host.get("DeviceRequests") or ()
    if is_podman(info) and any(request.get("Capabilities") for request in requests):
        return container_cannot_run(
            "the Docker API of podman gives no GPUs to containers. Ask for none, or use another engine."
        )
    # containerd stores the images of newer engines; no option of a container reaches it.
    if host.get("StorageOpt") and ["driver-type", _SNAPSHOTTER] in (info.get("DriverStatus") or ()):
        return storage_unlimited("it stores containers with a snapshotter of containerd.")
    return None


def storage_unlimited(cause: str) -> LaunchFailed:
    """The engine cannot limit the storage of a container."""
    return LaunchFailed(
        "ContainerCannotRun",
        f"The engine cannot limit the kernel's storage: {sentence(cause)} Remove ephemeral-storage from the "
        "limits in the kernelspec's resources, or use an engine that can: overlay2 on XFS, mounted with "
        "pquota.",
    )


def image_missing(image: str, message: str) -> LaunchFailed:
    """The engine does not have the image, and could not pull it."""
    return image_failure(image, "no such image", message, puller="the engine")


def volume_missing(message: str) -> LaunchFailed:
    """A volume or path does not exist."""
    return LaunchFailed(
        "VolumeMissing",
        f"A volume cannot be mounted: {sentence(message)} "
        "Check that the path or volume exists on the engine's host.",
    )


def _state(container: Mapping[str, Any]) -> Mapping[str, Any]:
    state: Mapping[str, Any] = container.get("State") or {}
    return state
