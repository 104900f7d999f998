"""Text of a gateway as it may be shown: in a terminal, in a notebook, in a file name's place."""

from __future__ import annotations

import re

# Whole escape sequences of terminals first, so that nothing of them stays: CSI, OSC and the short ones.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|\x1b.?")
# Control characters but tab and line feed; marks that reorder or hide text; surrogates, which no file takes.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SPACE = re.compile(r"\s+")

LONGEST_TEXT = 10_000


def clean(text: object, most: int = LONGEST_TEXT) -> str:
    """Return a gateway's text without anything but visible characters, spaces and line breaks.

    Args:
        text: anything that JSON holds; what is not a string is "".
        most: the characters to keep.
    """
    if not isinstance(text, str):
        return ""
    cut = text[: most * 2 + 1].replace(
        "\r\n", "\n"
    )  # escapes are taken out of no more than can be shown
    seen = _UNSEEN.sub("", _ESCAPES.sub("", cut)).strip()
    return seen if len(seen) <= most else f"{seen[: max(most - 3, 0)]}..."


def in_one_line(text: object, most: int = 200) -> str:
    """Return a gateway's text as one line, such as a display name."""
    return _SPACE.sub(" ", clean(text, most)).strip()
