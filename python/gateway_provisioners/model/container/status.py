"""What a Docker engine says of a container, in words for the kernel's user.

The form is that of `docker inspect` (https://docs.docker.com/reference/api/engine/): State, Config,
HostConfig, NetworkSettings. Podman's differs in what is said of it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_provisioners.model.failures import (
    OUT_OF_MEMORY,
    StartFailure,
    container_exited,
    image_failure,
    out_of_memory,
    sentence,
)

# "stopped" is podman's for one that it has not cleaned up after; the exit code is known.
_ENDED = frozenset({"exited", "dead", "removing", "stopped"})

_FIRST_PODMAN_THAT_TELLS_OOM = 5
_EXIT_CODE_OF_KILLED = 137


def exit_code(container: Mapping[str, Any]) -> int | None:
    """The kernel's exit code, or None while the container may be alive."""
    state = _state(container)
    return int(state.get("ExitCode", 0)) if state.get("Status") in _ENDED else None


def address(container: Mapping[str, Any]) -> str | None:
    """The container's address on its network, once it has one."""
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    found = [network["IPAddress"] for network in networks.values() if network.get("IPAddress")]
    return str(found[0]) if found else None


def start_failure(container: Mapping[str, Any]) -> StartFailure | None:
    """Why this container will not become a kernel, or None while it still may."""
    code = exit_code(container)
    if code is None:
        return None
    return out_of_memory() if _state(container).get("OOMKilled") else container_exited(code)


def end_cause(container: Mapping[str, Any]) -> str | None:
    """Why a kernel that was running ended, or None where nothing but its exit code is known."""
    return OUT_OF_MEMORY if _state(container).get("OOMKilled") else None


def is_podman(info: Mapping[str, Any]) -> bool:
    """Whether an engine that says this of itself (`docker info`) is podman."""
    return "BuildahVersion" in info


def tells_oom(info: Mapping[str, Any]) -> bool:
    """Whether that engine says of containers that memory ran out: podman before 5 says that it never did."""
    major = str(info.get("ServerVersion", "")).partition(".")[0]
    is_old = major.isdecimal() and int(major) < _FIRST_PODMAN_THAT_TELLS_OOM
    return not (is_podman(info) and is_old)


def with_likely_oom(container: Mapping[str, Any]) -> dict[str, Any]:
    """A container of an engine that does not tell: one with a limit that was killed had too little memory."""
    limit = (container.get("HostConfig") or {}).get("Memory")
    oom = bool(limit) and exit_code(container) == _EXIT_CODE_OF_KILLED
    return {**container, "State": {**_state(container), "OOMKilled": oom}}


def progress(container: Mapping[str, Any]) -> str:
    """How far the container has come, for somebody who waited too long for it."""
    if _state(container).get("Status") == "running":
        return "Its container runs, but its launcher has not reported to the gateway."
    return f"Its container is still {_state(container).get('Status', 'being made')}."


def refusal(status: int, message: str, *, image: str, network: str) -> StartFailure:
    """What it means that the engine refused to make or to start a container or service.

    Args:
        status: the HTTP status; 0 where no answer came.
        message: the engine's sentence.
    """
    lower = message.lower()
    if status == 0:
        return StartFailure("Engine", f"{sentence(message)} Try again soon.")
    if "no such image" in lower or "pull access denied" in lower or "manifest" in lower:
        return image_missing(image, message)
    if "swarm manager" in lower:
        return StartFailure(
            "NoSwarm",
            f"The engine runs no services: {sentence(message)} Run `docker swarm init` there, or use a "
            "kernelspec of the docker-provisioner.",
        )
    if "network" in lower and "not found" in lower:
        return StartFailure(
            "NetworkMissing",
            f"The engine has no network {network!r}: {sentence(message)} "
            "Create it, or correct GP_DOCKER_NETWORK.",
        )
    if "mount" in lower:
        return volume_missing(message)
    return StartFailure("ContainerCannotRun", f"Its container cannot be made or started: {message}")


def podman_has_no_swarm() -> StartFailure:
    """A service was asked for where there never is one."""
    return StartFailure(
        "NoSwarm",
        "The engine runs no services: it is podman. Use a kernelspec of the docker-provisioner.",
    )


def podman_would_ignore(config: Mapping[str, Any]) -> StartFailure | None:
    """What the body of a container's creation asks for in vain, or None."""
    requests = (config.get("HostConfig") or {}).get("DeviceRequests") or ()
    if not any(request.get("Capabilities") for request in requests):
        return None
    return StartFailure(
        "ContainerCannotRun",
        "Its container cannot be made or started: the Docker API of podman gives no GPUs to containers. "
        "Ask for none, or use another engine.",
    )


def image_missing(image: str, message: str) -> StartFailure:
    """The engine does not have the image, and could not pull it."""
    return image_failure(image, "no such image", message, who="the engine")


def volume_missing(message: str) -> StartFailure:
    """A volume or path is not there."""
    return StartFailure(
        "VolumeMissing",
        f"A volume of the kernel's container cannot be mounted: {sentence(message)} "
        "Check that the path or volume exists on the engine's host.",
    )


def _state(container: Mapping[str, Any]) -> Mapping[str, Any]:
    state: Mapping[str, Any] = container.get("State") or {}
    return state
