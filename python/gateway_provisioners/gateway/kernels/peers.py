"""The other gateways that manage the same kernels: what they announce, and what is announced to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway_provisioners.model.ownership import Ownership


class Peers(Protocol):
    """The other gateways, as `GatewayKernelManager` and its kernels see them."""

    def is_leader(self) -> bool:
        """Return whether this gateway is the one that restarts dead kernels and culls kernels."""
        ...

    def connections_elsewhere(self, kernel_id: str) -> int:
        """Return how many clients of a kernel are connected to other gateways."""
        ...

    def announce_connections(self, kernel_id: str, count: int) -> None:
        """Announce how many clients of a kernel are connected to this gateway."""
        ...

    def announce_activity(self, kernel_id: str, last_activity: str) -> None:
        """Announce when a kernel was last in use, in ISO 8601."""
        ...

    def announce_started(self, kernel_id: str, started: str) -> None:
        """Announce when a kernel was first started, in ISO 8601."""
        ...

    async def store_ownership(self, kernel_id: str, ownership: Ownership) -> None:
        """Store whose kernel it is, so that other gateways, and later ones, know.

        Raises:
            KernelBusy: another gateway is restarting or ending the kernel.
            EngineError: it could not be stored.
        """
        ...

    async def find(self, kernel_id: str) -> None:
        """Take over a kernel that another gateway has only just started, if there is one."""
        ...

    async def cancel_start(self, kernel_id: str, may_cancel: Callable[[Ownership], bool]) -> bool:
        """Cancel the start of a kernel by another gateway; return whether there was one.

        Args:
            may_cancel: returns whether the client may, by the kernel's owner.

        Raises:
            EngineError: the engine did not answer.
        """
        ...


class NoPeers:
    """A gateway without other gateways."""

    def is_leader(self) -> bool:
        return True

    def connections_elsewhere(self, kernel_id: str) -> int:  # noqa: ARG002
        return 0

    def announce_connections(self, kernel_id: str, count: int) -> None: ...

    def announce_activity(self, kernel_id: str, last_activity: str) -> None: ...

    def announce_started(self, kernel_id: str, started: str) -> None: ...

    async def store_ownership(self, kernel_id: str, ownership: Ownership) -> None: ...

    async def find(self, kernel_id: str) -> None: ...

    async def cancel_start(
        self,
        kernel_id: str,  # noqa: ARG002
        may_cancel: Callable[[Ownership], bool],  # noqa: ARG002
    ) -> bool:
        return False
