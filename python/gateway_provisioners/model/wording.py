"""Messages in the lines that clients show: pure.

JupyterLab's dialog does not wrap. It shows some 110 characters of each line, and its first line begins with
what the client adds: `HTTP 503: Service Unavailable (Error from Gateway: [`.
"""

from __future__ import annotations

import functools
import textwrap

_WIDTH = 100
_FIRST_WIDTH = 50

_wrapped = functools.partial(textwrap.wrap, break_on_hyphens=False)


def in_short_lines(message: str) -> str:
    """Return a message whose lines a dialog shows whole; line breaks that it has stay.

    Words, such as the name of an image, are split only if they are longer than a line. Control characters,
    which may come from a kernel or another program, are escaped.
    """
    first, *others = message.splitlines() or [""]
    lines = _in_first_and_others(_printable(first))
    for line in others:
        lines += _wrapped(_printable(line), _WIDTH) or [""]
    return "\n".join(lines)


def _in_first_and_others(text: str) -> list[str]:
    """Wrap a line whose beginning shares its own line with the client's words."""
    if len(text) <= _FIRST_WIDTH:
        return [text]
    first = _wrapped(text, _FIRST_WIDTH, max_lines=1, placeholder="", break_long_words=False)
    # A word that does not fit begins the next line.
    head = first[0] if first and first[0] else ""
    rest = text[text.index(head) + len(head) :].strip()
    return [head, *_wrapped(rest, _WIDTH)]


def _printable(line: str) -> str:
    expanded = line.expandtabs(4)
    if expanded.isprintable():
        return expanded
    # Spaces of other scripts are not printable to Python.
    return "".join(
        each if each.isprintable() or each.isspace() else _escaped(each) for each in expanded
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
