"""Failed restarts of a kernel that died, in words for its clients."""

from __future__ import annotations

from collections.abc import Callable

from gateway_provisioners.gateway.failures import can_pass, known_cause, public_words

_FAILED = "The kernel has ended and could not be restarted; the gateway tries again."
_HAS_TO_WAIT = "The kernel has ended, and its restart has to wait; the gateway tries again."
_INTERNAL = "Internal error; see the gateway log."


class RestartFailures:
    """Announces why a kernel could not be restarted: once for each cause, however often it is tried.

    Args:
        announce: shows a text to the kernel's clients, some of whom may not see its log.

    Attributes:
        cause: the cause of the last failure since a restart succeeded, in sentences; "" if no attempt failed.
    """

    def __init__(self, announce: Callable[[str], object]) -> None:
        self.cause = ""
        self._announce = announce
        self._reason = ""

    def report(self, error: Exception) -> None:
        """Announce the failure of an attempt that no client asked for."""
        if self._note(error):
            words = _HAS_TO_WAIT if can_pass(error) else _FAILED
            self._announce(f"{words} {self.cause}")

    def answered(self, error: Exception) -> None:
        """Note a failure that a client got as the answer to its request."""
        self._note(error)

    def forget(self) -> None:
        """Announce the next failure, even with the same cause: the kernel was restarted."""
        self.cause = self._reason = ""

    def _note(self, error: Exception) -> bool:
        """Keep the cause; return whether it is another one than before."""
        cause = known_cause(error)
        message = public_words(error, _INTERNAL)
        reason = cause.reason if cause else type(error).__name__
        known, self._reason, self.cause = self._reason, reason, message
        return reason != known
