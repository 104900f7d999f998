"""The times at which kernels are to be shut down, in words for their users: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

# The notice of the end of a lifetime: a tenth of it, or this many seconds if that is less.
_LONGEST_NOTICE = 600


@dataclass(frozen=True)
class Deadline:
    """A time at which a kernel is to be shut down.

    Attributes:
        cause: why, as metrics name it.
        at: the time; it is shut down when the culler looks next.
        notice_seconds: how long before that its users get a notice.
        notice: the notice, without the time.
        why: why it is shut down, as a sentence.
    """

    cause: str
    at: datetime
    notice_seconds: float
    notice: str
    why: str

    @classmethod
    def of_lifetime(cls, started: datetime, limit: int, *, interval: int) -> Deadline:
        """Return the end of a kernel's lifetime.

        Args:
            limit: its maximum lifetime, in seconds.
            interval: how often the culler looks, in seconds.
        """
        return cls(
            cause="lifetime",
            at=started + timedelta(seconds=limit),
            notice_seconds=max(min(_LONGEST_NOTICE, limit / 10), interval),
            notice=(
                f"it may run for {span(limit)} (max_lifetime), and a restart does not change that. Save your "
                "results."
            ),
            why=f"The kernel has reached its maximum lifetime of {span(limit)} (max_lifetime).",
        )

    @classmethod
    def of_idleness(cls, last_activity: datetime, limit: int, *, interval: int) -> Deadline:
        """Return the time until which a kernel may be idle.

        Args:
            limit: its idle timeout, in seconds.
            interval: how often the culler looks, in seconds.
        """
        return cls(
            cause="idle",
            at=last_activity + timedelta(seconds=limit),
            notice_seconds=interval,
            notice=(
                f"it may be idle for {span(limit)} (cull_idle_timeout). Run a cell to keep it, or save your "
                "results."
            ),
            why=f"The kernel was not in use for {span(limit)} (cull_idle_timeout).",
        )

    @classmethod
    def of_orphan(cls, alone_since: datetime, limit: int) -> Deadline:
        """Return the time until which a kernel may be without any connection.

        Args:
            alone_since: when its last client left, or it last did something.
            limit: how long its client lets it be, in seconds.
        """
        return cls(
            cause="orphan",
            at=alone_since + timedelta(seconds=limit),
            notice_seconds=0,  # no client is connected
            notice="",
            why=f"No client was connected to the kernel for {span(limit)} (KERNEL_ORPHAN_TIMEOUT).",
        )

    def is_due(self, now: datetime) -> bool:
        return now >= self.at

    def is_near(self, now: datetime) -> bool:
        """Return whether it is time for the notice, or later."""
        return now >= self.at - timedelta(seconds=self.notice_seconds)

    def announcement(self, now: datetime) -> str:
        """Return the notice."""
        left = max(0, round((self.at - now).total_seconds()))
        time = self.at.astimezone(timezone.utc)
        return f"This kernel is to be shut down in {span(left)} ({time:%H:%M} UTC): {self.notice}"


def span(seconds: float) -> str:
    """Return a time in words."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"
