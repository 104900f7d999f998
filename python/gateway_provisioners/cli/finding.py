"""The findings of a check: one line each, with a level that says whether a kernel could still run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """The severity of a finding; the value is printed."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True)
class Finding:
    """One fact about a subject. The text of a problem says what to do about it."""

    level: Level
    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.level.value:8} {self.about}: {self.text}"


OnFinding = Callable[[Finding], None]
