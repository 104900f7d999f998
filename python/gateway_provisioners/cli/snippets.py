"""Short programs in the languages of kernels, to check that a kernel runs code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Snippets:
    """Code of one language.

    Attributes:
        sum: 1 + 1.
        endless: prints a word, then loops forever.
    """

    sum: str
    endless: str


SNIPPETS = {
    "python": Snippets("1 + 1", "print('busy', flush=True)\nwhile True: pass"),
    "r": Snippets("1 + 1", "cat('busy\\n')\nwhile (TRUE) {}"),
    "scala": Snippets("1 + 1", 'println("busy")\nwhile (true) {}'),
    "bash": Snippets("echo $((1 + 1))", "echo busy; while :; do :; done"),
}
