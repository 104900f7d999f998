"""What a gateway must know of the others that manage the same kernels, and let them know."""

from __future__ import annotations

from typing import Protocol


class Peers(Protocol):
    """The other gateways, as `GatewayKernelManager` sees them."""

    def is_leader(self) -> bool:
        """Whether it is this one that restarts dead kernels and ends idle ones."""
        ...

    def connections_elsewhere(self, kernel_id: str) -> int:
        """How many clients of a kernel are connected to others."""
        ...

    def tell_connections(self, kernel_id: str, count: int) -> None:
        """Let the others know how many are connected to this one."""
        ...

    def tell_activity(self, kernel_id: str, last_activity: str) -> None:
        """Let the others know when a kernel was last in use, in ISO 8601."""
        ...

    def tell_started(self, kernel_id: str, started: str) -> None:
        """Let the others know when a kernel was started first, in ISO 8601."""
        ...

    async def find(self, kernel_id: str) -> None:
        """Take over a kernel that another one has started a moment ago, if it has."""
        ...


class NoPeers:
    """There are no others."""

    def is_leader(self) -> bool:
        return True

    def connections_elsewhere(self, kernel_id: str) -> int:  # noqa: ARG002
        return 0

    def tell_connections(self, kernel_id: str, count: int) -> None: ...

    def tell_activity(self, kernel_id: str, last_activity: str) -> None: ...

    def tell_started(self, kernel_id: str, started: str) -> None: ...

    async def find(self, kernel_id: str) -> None: ...
