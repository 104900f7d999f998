"""A condition that keeps a kernel's workload from starting, and whether it can pass: pure, engine-neutral."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gateway_provisioners.errors import LaunchFailed


class Kind(enum.Enum):
    """The way in which a condition may end."""

    FINAL = "final"
    """No waiting mends it."""
    PASSING = "passing"
    """The engine tries again by itself."""
    AWAITED = "awaited"
    """Another party has to act: an autoscaler, a preemption, the owner of a scheduling gate."""


@dataclass(frozen=True)
class Condition:
    """One condition, in words for the kernel's user.

    Attributes:
        reason: one CamelCase word, as of `LaunchFailed`.
        case: what is the case, in whole sentences.
        remedy: what to do about it, in whole sentences; "" if `case` says so.
    """

    kind: Kind
    reason: str
    case: str
    remedy: str = ""

    @property
    def can_pass(self) -> bool:
        """True if it is worth waiting for its end."""
        return self.kind is not Kind.FINAL

    def __str__(self) -> str:
        return f"{self.case} {self.remedy}".rstrip()

    def failure(self) -> LaunchFailed:
        """Return the failure of a launch that this condition ends."""
        return LaunchFailed(self.reason, str(self))
