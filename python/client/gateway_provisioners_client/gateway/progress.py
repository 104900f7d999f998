"""The steps of a start, as server-sent events of the gateway."""

from __future__ import annotations

import json
from dataclasses import dataclass

from gateway_provisioners_client.gateway.words import clean, in_one_line

# A failure's message may have the last lines of a log.
_LONGEST_EVENT = 64 * 1024
_LONGEST_START = 1e9


@dataclass(frozen=True)
class ProgressStep:
    """One step of a start or restart, or the same step again with its age.

    Attributes:
        phase: the gateway's word for it, such as `pulling`.
        message: a sentence for people, with line breaks if it has the lines of a log.
        seconds: how long the step has taken; None for the last one.
        ready: whether the kernel is up: the last step.
        failed: whether the start has failed: the last step.
        reason: the gateway's word for a failure, such as `ImagePullFailed`.
    """

    phase: str
    message: str
    seconds: float | None = None
    ready: bool = False
    failed: bool = False
    reason: str = ""


class TooLong(Exception):
    """An event is longer than any that a gateway sends."""


class EventParser:
    """Makes steps of the bytes of a stream; what is not an event of a gateway's progress is left out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[ProgressStep]:
        """Return the steps that are complete with these bytes.

        Raises:
            TooLong: an event has no end.
        """
        *events, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
        if len(self._rest) > _LONGEST_EVENT:
            raise TooLong
        return [step for step in map(_step_of, events) if step]


def _step_of(event: bytes) -> ProgressStep | None:
    lines = (line for line in event.split(b"\n") if line.startswith(b"data:"))
    data = b"\n".join(line[5:].strip() for line in lines)
    if len(data) > _LONGEST_EVENT:
        return None
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    return ProgressStep(
        phase=in_one_line(fields.get("phase"), 64),
        message=clean(fields.get("message")),
        seconds=_seconds_of(fields.get("seconds")),
        ready=fields.get("ready") is True,
        failed=fields.get("failed") is True,
        reason=in_one_line(fields.get("reason"), 64),
    )


def _seconds_of(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and 0 <= value < _LONGEST_START else None
