"""The containers of a Pod beside the kernel's own, on their way and at their end: pure.

An init container prepares the Pod and ends. A sidecar runs beside the kernel: an ordinary container, or an
init container with the restartPolicy Always, which has to be up before the kernel's container is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.failures import BEING_CREATED, EXIT_CODE_OF_LOST, detail
from gateway_provisioners.model.pod.status import condition, fields, kernel_container, kernel_status

_CANNOT_RUN = frozenset({"ContainerCannotRun", "StartError"})
_INIT = "The init container"
_SIDECAR = "The sidecar"
CRASH_LOOP = "CrashLoopBackOff"
_BEING_CREATED = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True)
class _Companion:
    """One of these containers.

    Attributes:
        kind: the beginning of a sentence about it.
        is_first: whether the kernel's container has to wait for it.
        status: its element of the Pod's status.
    """

    kind: str
    is_first: bool
    status: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.status.get("name", ""))

    @property
    def is_sidecar(self) -> bool:
        return self.kind == _SIDECAR

    @property
    def state(self) -> Mapping[str, Any]:
        state: Mapping[str, Any] = self.status.get("state") or {}
        return state

    @property
    def is_crash_looping(self) -> bool:
        """True if the kubelet will run it again after a failure, or does so and it is not up yet."""
        if self.is_sidecar and "running" in self.state and not self.status.get("started"):
            return _failed(self.last_run)
        return (self.state.get("waiting") or {}).get("reason") == CRASH_LOOP

    @property
    def last_run(self) -> Mapping[str, Any]:
        """The end of its run before the present one; empty if that is not known."""
        run: Mapping[str, Any] = (self.status.get("lastState") or {}).get("terminated") or {}
        return run

    @property
    def failed_run(self) -> Mapping[str, Any] | None:
        """The end of its last run, if that was an error; None while it runs or has not run."""
        if self.is_crash_looping:
            return self.last_run
        ended: Mapping[str, Any] = self.state.get("terminated") or {}
        return ended if _failed(ended) else None

    @property
    def is_blocking(self) -> bool:
        """True if the kernel's container is not made because of it."""
        if not self.is_first:
            return False
        if self.is_sidecar:
            return not self.status.get("started")
        return "running" in self.state or self.failed_run is not None

    def failure(self) -> str:
        """Say how its last run failed."""
        run, name = self.failed_run or {}, f"{self.kind} {self.name!r}"
        message = detail(run["message"]) if run.get("message") else ""
        if run.get("reason") == "OOMKilled":
            return f"{name} needed more memory than its limit and was killed (OOMKilled)."
        if run.get("reason") in _CANNOT_RUN:
            image = self.status.get("image")
            return f"{name} cannot be started from its image {image!r}: {message}".rstrip()
        if not self.is_crash_looping:
            return f"{name} exited with code {_code(run)}. {message}".rstrip()
        last = f", the last time with code {_code(run)}" if run else ""
        return f"{name} keeps exiting{last}. {message}".rstrip()


def init_failure(pod: Mapping[str, Any]) -> LaunchFailed | None:
    """Explain the failure of an init container; None while it may still succeed.

    In a kernel's Pod none is run twice. Where the kubelet does, as in a DaemonSet's, a crash loop counts.
    """
    runs_once = (pod.get("spec") or {}).get("restartPolicy") == "Never"
    for container in _companions(pod):
        if container.is_sidecar or container.failed_run is None:
            continue
        if runs_once or container.is_crash_looping or fields(pod).get("phase") == "Failed":
            return LaunchFailed("InitContainerFailed", container.failure(), container_ran=True)
    return None


def sidecar_failures(pod: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each sidecar whose last run failed; the kernel may do without it."""
    return [
        container.failure()
        for container in _companions(pod)
        if container.is_sidecar and container.failed_run is not None
    ]


def container_progress(pod: Mapping[str, Any]) -> str | None:
    """Describe what the kernel's container waits for at its node; None if that is not known."""
    for container in _companions(pod):
        if not container.is_first:
            break
        if container.is_blocking and container.failed_run is not None:
            return container.failure()
        if container.is_blocking and "running" in container.state:
            running = f"{container.kind} {container.name!r} is still running"
            probe = ", and its startup probe has not succeeded" if container.is_sidecar else ""
            return f"{running}{probe}."
    return _being_created(pod)


def containers_with_logs(pod: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of the containers whose logs may explain why the kernel is not up."""
    companions = list(_companions(pod))
    kernel_waits = not (kernel_status(pod).get("state") or {}).keys() & {"running", "terminated"}
    if kernel_waits and (blocking := [each.name for each in companions if each.is_blocking]):
        return blocking[:1]
    failed = [each.name for each in companions if each.is_sidecar and each.failed_run is not None]
    return [kernel_container(pod), *failed[:1]]


def _companions(pod: Mapping[str, Any]) -> Iterator[_Companion]:
    """Yield them in the order in which the kubelet starts them."""
    status, kernel = fields(pod), kernel_container(pod)
    sidecars = {
        container.get("name")
        for container in (pod.get("spec") or {}).get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    for each in status.get("initContainerStatuses") or ():
        kind = _SIDECAR if each.get("name") in sidecars else _INIT
        yield _Companion(kind, is_first=True, status=each)
    for each in status.get("containerStatuses") or ():
        if each.get("name") != kernel:
            yield _Companion(_SIDECAR, is_first=False, status=each)


def waiting_containers(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the status of each container that is not made yet, perhaps because of its image."""
    status = fields(pod)
    for key in ("initContainerStatuses", "containerStatuses"):
        for each in status.get(key) or ():
            waiting = (each.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in _BEING_CREATED:
                yield each


def is_being_prepared(pod: Mapping[str, Any]) -> bool:
    """Return whether its node prepares its volumes and its network, or has not said that they are there."""
    return condition(pod, "PodReadyToStartContainers").get("status") == "False"


def _being_created(pod: Mapping[str, Any]) -> str | None:
    """Name the image that the kubelet pulls, or makes a container of: the first that is not there."""
    if is_being_prepared(pod):
        return "The node is still preparing the kernel's volumes and its network."
    for each in waiting_containers(pod):
        image = each.get("image")
        return f"{BEING_CREATED} The image is {image!r}." if image else BEING_CREATED
    return None


def _failed(terminated: Mapping[str, Any]) -> bool:
    return bool(terminated) and _code(terminated) != 0


def _code(terminated: Mapping[str, Any]) -> int:
    return int(terminated.get("exitCode", EXIT_CODE_OF_LOST))
