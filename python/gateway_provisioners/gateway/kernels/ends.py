"""The end of a kernel that no client asked for, in words for its users."""

from __future__ import annotations

from gateway_provisioners.model.failures import is_out_of_memory

_RESTARTS = "The kernel is being restarted, without its variables."
_STAYS_DEAD = (
    "The kernel is not restarted any more: it has ended too often in a row. Start another one."
)
_LOG = "The last lines of its log:"


def end_words(cause: str, *, restarts: bool, memory_advice: str) -> str:
    """Return sentences about the end of a kernel.

    Args:
        cause: whole sentences; "" if it is not known.
        restarts: whether a gateway restarts it.
        memory_advice: a sentence that is of use if it needed more memory; may be empty.
    """
    ended = cause or "The kernel ended."
    advice = memory_advice if is_out_of_memory(cause) else ""
    return " ".join(filter(None, (ended, _RESTARTS if restarts else _STAYS_DEAD, advice)))


def log_words(log: str) -> str:
    """Return the last lines of a kernel's log with a heading; "" if it has no lines."""
    return f"{_LOG}\n{log}" if log.strip() else ""
