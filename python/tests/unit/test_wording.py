"""Messages in the lines of JupyterLab's dialog."""

import random

import pytest

from gateway_provisioners.model.wording import in_short_lines
from message_words import unwrapped

IMAGE = "registry.example.com/acme/py:" + "0123456789abcdef" * 4


def widths(message):
    return [len(line) for line in in_short_lines(message).split("\n")]


def test_the_first_line_leaves_room_for_the_clients_words():
    assert in_short_lines("It is short.") == "It is short."
    text = "No node can run the kernel: 0/3 nodes are available. " * 8
    first, *others = widths(text)
    assert 40 < first <= 50
    assert 80 < max(others) <= 100
    assert unwrapped(in_short_lines(text)) == text.strip()


def test_a_long_word_begins_a_line_and_stays_whole():
    message = f"The image cannot be pulled (ErrImagePull): {IMAGE!r}. It does not exist."
    lines = in_short_lines(message).split("\n")
    assert lines[0] == "The image cannot be pulled (ErrImagePull):"
    assert lines[1].startswith(f"'{IMAGE}'")
    assert widths("x" * 60 + " is wrong.") == [0, 70]


def test_a_word_longer_than_a_line_is_split():
    assert widths("Wrong: " + "x" * 250) == [6, 100, 100, 50]


def test_line_breaks_and_indentations_of_a_log_stay():
    log = "It failed.\nTraceback:\n\n  File 'a.py', line 1\r\n\tValueError\n"
    assert in_short_lines(log) == (
        "It failed.\nTraceback:\n\n  File 'a.py', line 1\n    ValueError"
    )


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\0b", "a\\x00b"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
        ("1\xa0000", "1\xa0000"),
    ],
)
def test_control_characters_are_escaped(hostile, shown):
    assert in_short_lines(f"It failed: {hostile}") == f"It failed: {shown}"


@pytest.mark.parametrize("message", ["", "\n", " ", "   x", "\x85", "\u2028"])
def test_nothing_much_becomes_nothing_much(message):
    assert in_short_lines(message).strip() == message.strip()


def test_no_message_has_a_long_line():
    made = random.Random(1)
    for _ in range(2000):
        message = "".join(
            made.choice("ab-'\"\\ \t\n\r\0\x1b\u202e\u3000\x85é")
            for _ in range(made.randrange(400))
        )
        text = in_short_lines(message)
        assert max(map(len, text.split("\n"))) <= 100
        assert all(each.isprintable() or each.isspace() for each in text)
