"""Hostile data: strategies that spoil valid messages, which get further than random bytes do."""

from __future__ import annotations

import itertools
import json
from functools import partial

from hypothesis import strategies as st

# Nested deeper, or longer, than json.dumps writes: put into the text afterwards.
_PLACEHOLDERS = {
    '"@deep@"': "[" * 100_000,
    '"@nested@"': "[" * 900 + "]" * 900,
    '"@objects@"': '{"a":' * 900 + "1" + "}" * 900,
    '"@digits@"': "9" * 5000,
    '"@exponent@"': "1e999",
    '"@surrogate@"': '"\\ud800"',
}
_ODD_TEXTS = ("", "\0", "\n", "\x1b[2J", "\u2028", "\u0663", "é", "../..", "x" * 5000, "0", "-1")
_ODD_NUMBERS = (0, -1, 1, 255, 256, 2**16, 2**31, 2**32, 2**63, 2**64, 10**30)
_ODD_BYTES = (
    b"",
    b"\0",
    b"\xff",
    b"\n",
    b"\r\n",
    b"<IDS|MSG>",
    b"{",
    b"[",
    b'"',
    b"\\u",
    b"9" * 20,
)

odd_texts = st.sampled_from(_ODD_TEXTS) | st.text(max_size=30)
scalars = (
    odd_texts
    | st.sampled_from([None, True, False, [], {}, *_ODD_NUMBERS])
    | st.integers()
    | st.floats()
    | st.sampled_from([json.loads(each) for each in _PLACEHOLDERS])
)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


def dumped(value):
    """Return JSON, as any program may write it."""
    text = json.dumps(value)
    for placeholder, hostile in _PLACEHOLDERS.items():
        text = text.replace(placeholder, hostile)
    return text.encode()


def _places(value, path=()):
    """Yield the path of each part in a JSON value."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from _places(each, (*path, key))


def _changed(value, path, change):
    """Return a copy in which `change` was made to the list or object that holds the place."""
    copy = value.copy()
    key, *rest = path
    if rest:
        copy[key] = _changed(value[key], rest, change)
    else:
        change(copy, key)
    return copy


def _replace(holder, key, new):
    holder[key] = new


def _add(holder, key, new):
    if isinstance(holder, dict):
        holder[f"{key}_"] = new
    else:
        holder.insert(key, new)


@st.composite
def altered(draw, valid, values=json_values, most=3):
    """Draw a valid JSON value some of whose parts are removed, replaced or added."""
    value = draw(valid) if isinstance(valid, st.SearchStrategy) else valid
    for _ in range(draw(st.integers(0, most))):
        places = list(_places(value))
        if not places:
            break
        path = draw(st.sampled_from(places))
        what = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
        new = draw(scalars | values)
        if what == "remove":
            value = _changed(value, path, lambda holder, key: holder.pop(key))
        elif what == "add":
            value = _changed(value, path, partial(_add, new=new))
        else:
            value = _changed(value, path, partial(_replace, new=new))
    return value


@st.composite
def spoiled(draw, valid, most=4):
    """Draw valid bytes some of which are changed, removed, doubled or added."""
    data = draw(valid) if isinstance(valid, st.SearchStrategy) else valid
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 16)))
        what = draw(st.sampled_from(["flip", "remove", "double", "insert", "cut"]))
        if what == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
        elif what == "remove":
            data = data[:at] + data[to:]
        elif what == "double":
            data = data[:to] + data[at:]
        elif what == "insert":
            data = data[:at] + draw(st.sampled_from(_ODD_BYTES) | st.binary(max_size=9)) + data[at:]
        elif what == "cut":
            data = data[:at]
    return data


def spoiled_json(valid, values=json_values):
    """Draw the bytes of a JSON value, of which either the structure or some bytes are spoiled."""
    structure = altered(valid, values).map(dumped)
    return structure | spoiled(structure) | json_values.map(dumped) | st.binary(max_size=200)


@st.composite
def shaped_frames(draw, valid, most=3):
    """Draw the frames of a message: some are spoiled, left out, doubled, or in other places."""
    frames = list(draw(valid))
    for _ in range(draw(st.integers(0, most))):
        what = draw(st.sampled_from(["spoil", "remove", "double", "insert", "swap"]))
        at = draw(st.integers(0, max(len(frames) - 1, 0)))
        if what == "insert" or not frames:
            frames.insert(at, draw(st.sampled_from(_ODD_BYTES) | st.binary(max_size=40)))
        elif what == "spoil":
            frames[at] = draw(spoiled(frames[at], most=2))
        elif what == "remove":
            del frames[at]
        elif what == "double":
            frames.insert(at, frames[at])
        else:
            to = draw(st.integers(0, len(frames) - 1))
            frames[at], frames[to] = frames[to], frames[at]
    return frames


@st.composite
def cut(draw, data):
    """Draw the pieces in which bytes arrive; none is empty."""
    places = draw(st.sets(st.integers(0, len(data)), max_size=6))
    return [data[begin:end] for begin, end in itertools.pairwise(sorted({0, *places, len(data)}))]
