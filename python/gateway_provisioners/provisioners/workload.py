"""The pod or container of one kernel, engine-neutral, and the launch that it is made from.

`kube.launched_pod.LaunchedPod` and `dockerd.launched_container.LaunchedContainer` implement `Workload`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.condition import Condition
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.launch_progress import LaunchProgress, Stage
from gateway_provisioners.model.request.launch_request import LaunchRequest
from gateway_provisioners.model.workload_details import WorkloadDetails


@dataclass(frozen=True)
class Launch:
    """One attempt at starting one kernel, engine-neutral.

    Attributes:
        attempt: 1 for the start, one more for each restart.
        timeout: seconds that it may take.
        wait_timeout: seconds that it may take while a condition that can pass holds; at least `timeout`.
        environment: literal variables of the container; nothing secret.
        secret_environment: the launch key and the client's variables.
        progress: takes what happens before there is a workload.
    """

    kernel_id: str
    kernel_name: str
    attempt: int
    timeout: float
    wait_timeout: float
    request: LaunchRequest
    environment: Mapping[str, str]
    secret_environment: Mapping[str, str] = field(repr=False)
    progress: LaunchProgress = field(repr=False)


class Workload(Protocol):
    """The pod or container of one attempt, as far as the engine has reported it.

    Synchronous members read cached state; only coroutines talk to the engine. `RemoteProvisioner` is
    the only caller. In a launch it waits for `wait_address` and `start_failure`, and then calls
    `remember`. A restart calls `begin_restart`, `stop` and `wait_gone`, makes the next workload, and
    then calls `release` and `remove_replaced`. A shutdown calls `remove` and `release`.
    """

    name: str

    @property
    def progress(self) -> Stage:
        """The stage that it has reached; read by a launch, at each change and when it has timed out."""
        ...

    async def wait_progress(self, known: Stage) -> None:
        """Return when `progress` is not `known`; called, and cancelled, by a launch."""
        ...

    def announce(self, stage: Stage) -> None:
        """Show a stage to administrators, where the engine shows them other events of the workload.

        Called by a launch, once for each stage that lasts and at its end. It must not wait, nor fail.
        """
        ...

    @property
    def condition(self) -> Condition | None:
        """The condition that keeps it from starting at present, if any; read when a launch takes long."""
        ...

    async def wait_unobstructed(self) -> None:
        """Return when no `condition` holds that can pass; called by a launch, while there is one."""
        ...

    @property
    def is_busy_elsewhere(self) -> bool:
        """True while another gateway is restarting or ending the kernel; read before a restart."""
        ...

    @property
    def details(self) -> WorkloadDetails:
        """Its node, image and limits; read when a client looks at the kernel."""
        ...

    def exit_code(self) -> int | None:
        """Return the kernel's exit code, or None while it may be alive.

        Called every few seconds by jupyter_client's `poll`.
        """
        ...

    def end_cause(self) -> str | None:
        """Explain, in words, an end that no gateway caused; None if only its exit code is known.

        Called once the kernel has ended, also while it is restarted.
        """
        ...

    async def wait_end_explained(self) -> None:
        """Return when `end_cause` is final; called, with a timeout, once the kernel has ended.

        An engine may report the cause a moment after the exit code.
        """
        ...

    async def wait_address(self, preferred: str = "") -> str:
        """Return its address as soon as that is known; called by a launch.

        Args:
            preferred: which of its addresses to return, if it has several and this is one of them.

        Returns:
            An IP address; "" if it has none of its own because it uses its host's.
        """
        ...

    async def wait_gone(self) -> None:
        """Return when it no longer uses resources; called before the next workload of a restart."""
        ...

    async def start_failure(self, *, unschedulable_grace: float) -> LaunchFailed:
        """Return why it cannot start; never returns if it can. Called, and cancelled, by a launch.

        Args:
            unschedulable_grace: seconds to wait for a node to appear before giving up.
        """
        ...

    async def log_tail(self) -> str:
        """Return the last lines of its container's log, or ""; called when a launch or the kernel failed."""
        ...

    async def remember(self, record: KernelRecord) -> None:
        """Store the record from which a later process adopts the kernel; called when it has started.

        Raises:
            GatewayProvisionersError: it could not be stored.
        """
        ...

    async def begin_restart(self) -> None:
        """Have a later process finish the restart if this one dies; called before `stop`.

        Raises:
            KernelBusy: another gateway is restarting or ending the kernel.
            GatewayProvisionersError: that could not be stored.
        """
        ...

    async def stop(self) -> None:
        """End what runs in it, and keep its record; it counts as ended. Called before a restart."""
        ...

    async def remove_replaced(self) -> None:
        """Remove it and its record; called when the workload that replaces it has started.

        Raises:
            KernelBusy: the kernel was ended meanwhile, so its replacement has to be removed as well.
        """
        ...

    async def give_up_restart(self) -> None:
        """Take `begin_restart` back; called when the restart failed. The leader restarts dead kernels."""
        ...

    def remove_soon(self) -> None:
        """Remove it in the background, in any state; called when its launch failed."""
        ...

    async def remove(self, *, grace_seconds: int) -> None:
        """End the kernel on purpose and delete its record; it counts as ended. Called at a shutdown.

        If the engine does not answer, this goes on in the background.
        """
        ...

    def release(self) -> None:
        """Stop following it; it stays as it is. Called last, or before another process's is adopted."""
        ...
