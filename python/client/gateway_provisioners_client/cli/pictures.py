"""The check that a gateway's logo is a picture and nothing else.

A Jupyter server serves the logos of kernelspecs from its own address: a script in one would act in the name
of the user who opens it as a page.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from xml.parsers import expat

_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_PIXELS = 2048
_LARGEST = 256 * 1024  # more, of a gateway with many kernels, would fill a home folder
_SVG = "http://www.w3.org/2000/svg"
_ACTIVE = frozenset({"script", "foreignobject", "handler", "listener", "iframe", "embed", "object"})
_TARGETS = ("#", "data:image/png;base64,", "data:image/jpeg;base64,")


class NotAPicture(Exception):
    """The content is not a picture that may be served; the message says why."""


def suffix_of(content: bytes) -> str:
    """Return `.png` or `.svg`, as the content says.

    Raises:
        NotAPicture: it is neither, too large, or more than a picture.
    """
    if len(content) > _LARGEST:
        raise NotAPicture("it is too large")
    if content.startswith(_PNG):
        _check_png(content)
        return ".png"
    _check_svg(content)
    return ".svg"


def _check_png(content: bytes) -> None:
    header = content[8:24]  # of the first chunk: its length, its name, width and height
    if len(header) < 16 or header[4:8] != b"IHDR":
        raise NotAPicture("it is not a complete PNG")
    if not all(0 < size <= _MOST_PIXELS for size in struct.unpack(">II", header[8:])):
        raise NotAPicture(f"it has more than {_MOST_PIXELS} pixels in a row")


def _check_svg(document: bytes) -> None:
    elements = _Elements()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = elements.start
    parser.ProcessingInstructionHandler = elements.instruction
    parser.EntityDeclHandler = elements.entity
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise NotAPicture("it is neither a PNG nor an SVG") from error


class _Elements:
    def __init__(self) -> None:
        self._is_root = True

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Refuse other documents than SVG, and elements and attributes that run or load something."""
        local = name.rpartition(" ")[2].lower()
        if self._is_root and name != f"{_SVG} svg":
            raise NotAPicture("it is neither a PNG nor an SVG")
        self._is_root = False
        if name.startswith("http://www.w3.org/1999/xhtml ") or local in _ACTIVE:
            raise NotAPicture("it is more than a picture")
        for attribute, value in attributes.items():
            local = attribute.rpartition(" ")[2].lower()
            squeezed = "".join(character for character in value if character > " ").lower()
            is_link = local in {"href", "src"} and not squeezed.startswith(_TARGETS)
            if local.startswith("on") or is_link or "javascript:" in squeezed:
                raise NotAPicture("it is more than a picture")

    def instruction(self, target: str, _data: str) -> None:
        """Refuse style sheets, which can turn the document into another."""
        if target.lower().startswith("xml-"):
            raise NotAPicture("it is more than a picture")

    def entity(self, *_declaration: object) -> None:
        """Refuse entities, which can make a small document large."""
        raise NotAPicture("it declares entities")
