"""The memory and CPU time that a kernel uses, as its launcher reports them: pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway_provisioners.errors import ProtocolError

# The 15 digits of SPEC.md, and numbers beyond those of any machine: a launcher is a user's own code.
_MOST_BYTES = 10**15 - 1
_MOST_SECONDS = 10**12
_MOST_CORES = 10**6


@dataclass(frozen=True)
class Usage:
    """The usage of a kernel's container, and its limits.

    Attributes:
        memory: bytes of its working set, which does not include files that are only cached; None if unknown.
        memory_limit: bytes; None without a limit.
        cpu: seconds of CPU time since it was started; None if unknown.
        cpu_limit: cores; None without a limit.
    """

    memory: int | None
    memory_limit: int | None
    cpu: float | None
    cpu_limit: float | None

    @classmethod
    def from_json(cls, value: object) -> Usage:
        """Read the `usage` of a launcher's reply; unknown fields are ignored.

        Raises:
            ProtocolError: it is malformed; the message names the field.
        """
        if not isinstance(value, Mapping):
            raise ProtocolError("the usage is not a JSON object")
        return cls(
            memory=_bytes(value, "memory"),
            memory_limit=_bytes(value, "memory_limit"),
            cpu=_number(value, "cpu", _MOST_SECONDS),
            cpu_limit=_number(value, "cpu_limit", _MOST_CORES),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return dataclasses.asdict(self)

    @property
    def memory_share(self) -> float:
        """The part of the memory limit that is in use; 0 if that is not known, or without a limit."""
        return self.memory / self.memory_limit if self.memory and self.memory_limit else 0.0


def _bytes(usage: Mapping[str, Any], name: str) -> int | None:
    number = _number(usage, name, _MOST_BYTES)
    return None if number is None else int(number)


def _number(usage: Mapping[str, Any], name: str, most: int) -> float | None:
    value = usage.get(name)
    if value is None:
        return None
    # NaN is not in any range.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ProtocolError(f"the usage's {name} is malformed")
    return value
