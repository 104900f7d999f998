"""What the life of a kernel needs of an engine: one pod or container, and a way to make it.

`kube.launched_pod.LaunchedPod` and `dockerd.launched_container.LaunchedContainer` implement it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway_provisioners.model.failures import StartFailure
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.request.launch_request import LaunchRequest


@dataclass(frozen=True)
class Launch:
    """One attempt at starting one kernel, in no engine's words.

    Attributes:
        attempt: 1 for the start, one more for each restart.
        timeout: seconds that it may take.
        environment: literal variables of the container; nothing secret.
        secret_environment: the launch key and the client's variables.
    """

    kernel_id: str
    kernel_name: str
    attempt: int
    timeout: float
    request: LaunchRequest
    environment: Mapping[str, str]
    secret_environment: Mapping[str, str] = field(repr=False)


class Workload(Protocol):
    """The pod or container of one attempt, as far as the engine has told of it.

    What is no coroutine reads what is known and asks nobody.
    """

    name: str

    @property
    def progress(self) -> str:
        """How far it has come, for somebody who waited too long for it."""
        ...

    @property
    def is_busy_elsewhere(self) -> bool:
        """Whether another host is restarting or ending the kernel."""
        ...

    def exit_code(self) -> int | None:
        """The kernel's exit code, or None while nothing says that it ended."""
        ...

    def end_cause(self) -> str | None:
        """Why it ended, in words, if it was not this process that ended it."""
        ...

    async def wait_address(self) -> str:
        """Where it is reached, as soon as that is known."""
        ...

    async def wait_gone(self) -> None:
        """Return when it takes up nothing any more."""
        ...

    async def start_failure(self, *, unschedulable_grace: float) -> StartFailure:
        """Why it cannot start; never returns for one that can.

        Args:
            unschedulable_grace: seconds to wait for a node to appear before giving up.
        """
        ...

    async def log_tail(self, lines: int = 20) -> str:
        """The last lines that its container printed, or "" where there is no log."""
        ...

    async def remember(self, record: KernelRecord) -> None:
        """Store what a later process needs to take the kernel over; only from now on is there one.

        Raises:
            GatewayProvisionersError: it could not be stored.
        """
        ...

    async def begin_restart(self) -> None:
        """Have a later process restart the kernel if this one ends before it has done so.

        Raises:
            KernelBusy: somebody else restarts or ends it.
            GatewayProvisionersError: that could not be written down.
        """
        ...

    async def stop(self) -> None:
        """End what runs in it and keep what is remembered of the kernel; it counts as ended."""
        ...

    async def replaced(self) -> None:
        """Remove it and what is remembered: another workload is the kernel now.

        Raises:
            KernelBusy: the kernel was ended meanwhile; what replaces this has to go as well.
        """
        ...

    async def give_up_restart(self) -> None:
        """Leave the kernel, dead as it is, to whoever restarts dead kernels."""
        ...

    def discard_soon(self) -> None:
        """Remove it, whatever state it is in, in the background; it never was a kernel."""
        ...

    async def remove(self, *, grace_seconds: int) -> None:
        """End the kernel on purpose, and forget it; it counts as ended.

        Where the engine does not answer, that goes on in the background.
        """
        ...

    def forget(self) -> None:
        """Follow it no longer; it stays as it is."""
        ...
