"""What a check of an image says: one line a fact, and whether that fact is in a kernel's way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How much a fact matters; the value is what people read."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True)
class Finding:
    """One fact: what it is about, and what was found. A problem's text says what to do about it."""

    level: Level
    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.level.value:8} {self.about}: {self.text}"


Tell = Callable[[Finding], None]
