"""The audit log: who did what with which kernel, one JSON line for each operation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from gateway_provisioners.gateway.failures import describe
from gateway_provisioners.gateway.process.audit_output import AuditOutput, open_destination

# Longer values are cut; names of users, groups and kernels are shorter.
LONGEST_VALUE = 300
DONE = "done"
REFUSED = "refused"
FAILED = "failed"


@dataclass
class Actor:
    """A client whose request is carried out, or the reason for which the gateway acts on its own.

    Attributes:
        user: the name of the user; "" for an administrator without one, and for the gateway.
        method: the method that identified it; "" if it is not identified.
        is_admin: whether it may use all kernels.
        address: where its request comes from; "" if it is the gateway itself.
        reason: why the gateway acts, as one CamelCase word.
        is_recorded: whether something was recorded in its name.
        is_acting: False when its request is answered. Timers and tasks that the request began go on, and
            what they do is the gateway's doing.
    """

    user: str = ""
    method: str = ""
    is_admin: bool = False
    address: str = ""
    reason: str = ""
    is_recorded: bool = False
    is_acting: bool = True


@dataclass(frozen=True)
class AuditedKernel:
    """The kernel that a line is about; "" for what is not known.

    Attributes:
        name: its kernelspec's.
        owner: the name of the user whose it is.
    """

    kernel_id: str = ""
    name: str = ""
    owner: str = ""


_NO_KERNEL = AuditedKernel()
_GATEWAY = Actor()
_actor: ContextVar[Actor] = ContextVar("actor", default=_GATEWAY)


def act_as(actor: Actor) -> None:
    """Record what the current task does, and those that it begins, in the name of an actor."""
    _actor.set(actor)


@contextmanager
def acting_because(reason: str) -> Iterator[None]:
    """Record what is done here as the gateway's own doing, with a reason."""
    actor = Actor(reason=reason)
    token = _actor.set(actor)
    try:
        yield
    finally:
        actor.is_acting = False
        _actor.reset(token)


class Audit:
    """Writes the lines. Values from clients are data: JSON escapes them, and long ones are cut.

    Args:
        output: takes the lines; None: they are not written.
    """

    def __init__(self, output: AuditOutput | None = None) -> None:
        self._output = output

    @classmethod
    def to(cls, target: str, on_lost: Callable[[int], object]) -> Audit:
        """Return one that writes where GP_AUDIT says.

        Args:
            on_lost: called with each number of lines that are lost, from any thread.

        Raises:
            ConfigurationError: it makes no sense, or cannot be opened.
        """
        destination = open_destination(target)
        return cls(None if destination is None else AuditOutput(destination, _lost_line, on_lost))

    def record(
        self,
        event: str,
        kernel: AuditedKernel = _NO_KERNEL,
        *,
        error: BaseException | None = None,
        actor: Actor | None = None,
        **details: object,
    ) -> None:
        """Record an operation that was carried out, or that failed with an error.

        Args:
            error: None: it was carried out.
            actor: the client; None: that of the current task, or the gateway itself.
            details: more fields; the caller bounds their size.
        """
        if error is None:
            self._record(event, kernel, DONE, "", actor, details)
        else:
            failure = describe(error, 500)
            self.record_failure(event, kernel, failure.status, failure.reason, actor=actor)

    def record_failure(
        self,
        event: str,
        kernel: AuditedKernel,
        status: int,
        reason: str,
        *,
        actor: Actor | None = None,
    ) -> None:
        """Record an operation that was refused or failed, by the status of its answer."""
        # Those of HTTP are phrases, such as Not Found.
        word = "".join(part for part in reason if part.isalnum())
        self._record(event, kernel, REFUSED if status < 500 else FAILED, word, actor, {})

    @contextmanager
    def operation(self, event: str, kernel: AuditedKernel, **details: object) -> Iterator[None]:
        """Record what is done here when it is done, or has failed."""
        try:
            yield
        except Exception as error:
            self.record(event, kernel, error=error)
            raise
        self._record(event, kernel, DONE, "", None, details)

    def close(self) -> None:
        """Write what is left; blocks, but not for long."""
        if self._output is not None:
            self._output.close()

    def _record(
        self,
        event: str,
        kernel: AuditedKernel,
        outcome: str,
        reason: str,
        actor: Actor | None,
        details: Mapping[str, object],
    ) -> None:
        if actor is None:
            actor = _actor.get()
            if not actor.is_acting:
                actor = _GATEWAY
        if actor is not _GATEWAY:
            actor.is_recorded = True
        if self._output is None:
            return
        values: dict[str, Any] = {
            "time": _now(),
            "event": event,
            "outcome": outcome,
            "reason": reason or actor.reason,
            "user": actor.user,
            "admin": actor.is_admin,
            "method": actor.method,
            "address": actor.address,
            "kernel_id": kernel.kernel_id,
            "kernel": kernel.name,
            "owner": kernel.owner,
        }
        self._output.put(_line({**values, **details}))


def _lost_line(count: int) -> bytes:
    return _line({"time": _now(), "event": "lost", "lines": count})


def _now() -> str:
    """Return the time in the form of RFC 3339."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(values: dict[str, Any]) -> bytes:
    """Return values as one line; "" becomes null."""
    bounded = {key: _bounded(value) for key, value in values.items()}
    return json.dumps(bounded).encode("ascii") + b"\n"


def _bounded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return f"{value[:LONGEST_VALUE]}..." if len(value) > LONGEST_VALUE else value or None
