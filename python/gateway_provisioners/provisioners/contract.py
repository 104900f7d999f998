"""The gateway's contract with provisioners, in addition to jupyter_client's."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.usage import Usage
from gateway_provisioners.model.workload_details import WorkloadDetails
from gateway_provisioners.provisioners.mailbox import MailboxEndpoint


@dataclass(frozen=True)
class KernelEnd:
    """The end of a kernel that no client asked for.

    Attributes:
        cause: sentences; "" if it is not known.
        log: the last lines of its log, for its user; "" if they say nothing about the cause.
    """

    cause: str = ""
    log: str = ""


class GatewayContract:
    """A provisioner whose kernels a gateway can share with other gateways, follow, and adopt.

    The members here do what is right for kernels that end with the process that started them. A gateway
    manages kernels of other provisioners, such as LocalProvisioner, as if they had these.
    """

    outlives_process: bool = False
    """True if a gateway that starts later can find the kernel; read when this gateway stops."""

    @property
    def mailbox(self) -> MailboxEndpoint | None:
        """The launcher's mailbox, or None if it has none; read whenever a client connects."""
        return None

    @property
    def attempt(self) -> str:
        """The name of the kernel's present launch, the same at every gateway; "" if it has none.

        At most 128 characters, which reveal nothing. A restart changes it. Read whenever a client connects,
        and after a restart: a client that sends requests again says which launch they were meant for.
        """
        return ""

    @property
    def is_known_to_live(self) -> bool:
        """True if the kernel lives, as far as is known without asking; read every 3 seconds.

        False if that is not known: then `poll` is called.
        """
        return False

    @property
    def is_busy_elsewhere(self) -> bool:
        """True while another gateway restarts or ends the kernel; read before a restart."""
        return False

    @property
    def workload_name(self) -> str:
        """The engine's name of the pod or container that is the kernel, or ""; read by the reconciler."""
        return ""

    @property
    def end_cause(self) -> str:
        """The cause of the kernel's last end that no client asked for, in sentences; "" if that is not known.

        A restart after that end keeps it; a restart of a kernel that lives clears it. Read for lists of
        kernels.
        """
        return ""

    async def explain_end(self) -> KernelEnd:
        """Find out why the kernel ended, which may take some seconds; `end_cause` is the same then.

        Called once by each gateway that serves the kernel, after `poll` or the engine has reported its end,
        and before the kernel is restarted.
        """
        return KernelEnd()

    @property
    def details(self) -> WorkloadDetails:
        """The kernel's node, image and limits, as far as they are known without asking."""
        return WorkloadDetails()

    async def usage(self) -> Usage | None:
        """Return the memory and CPU time that the kernel uses, at most 5 seconds old.

        Returns:
            None if that is not known: the launcher does not offer it, or did not answer within a second.
        """
        return None

    @property
    def memory_advice(self) -> str:
        """A sentence on how the kernel's user can get more memory; "" if that is not known.

        Read when a kernel runs out of memory, or nearly does: it may read kernelspecs from disk.
        """
        return ""

    async def begin_restart(self) -> None:
        """Announce a restart, so that the kernel is not lost if this process dies in the middle of it.

        Called by `GatewayKernel.restart_kernel`, before the kernel is shut down.

        Raises:
            KernelBusy: another gateway is restarting or ending the kernel.
            EngineError: the announcement could not be made; the kernel is as it was.
        """

    async def give_up_restart(self) -> None:
        """Take back the announcement of a restart; called by `GatewayKernel` when the restart failed."""

    async def release(self) -> None:
        """Stop following the kernel, which goes on; called when the gateway stops."""

    async def adopt(self, name: str, record: KernelRecord) -> None:
        """Take over the kernel that is the workload `name`; called by the gateway's back ends.

        Args:
            name: the engine's name of the pod or container.
            record: what the process that started the kernel stored about it.

        Raises:
            GatewayProvisionersError: the workload is not there.
        """
        raise NotImplementedError
