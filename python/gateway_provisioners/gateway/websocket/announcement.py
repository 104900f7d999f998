"""A sentence of the gateway for the users of a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Announcement:
    """A sentence, and the cell that shows it.

    Attributes:
        request: the header of the request that the kernel is executing; empty if no cell runs.
        ends_cell: whether the kernel will not answer the request any more.
        log: the last lines of the kernel's log, for clients with full access.
    """

    text: str
    request: Mapping[str, str] = field(default_factory=dict)
    ends_cell: bool = False
    log: str = ""

    @property
    def size(self) -> int:
        """The number of characters."""
        return len(self.text) + len(self.log)
