"""The check that an SVG is a picture and nothing else.

The gateway serves logos with a Content-Security-Policy, but a Jupyter server that passes them on drops it: a
script in one would act in the name of the user who opens it as a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.parsers import expat

_SVG = "http://www.w3.org/2000/svg"
_XHTML = "http://www.w3.org/1999/xhtml"
_ACTIVE = frozenset({"script", "foreignobject", "handler", "listener"})


class NotAPicture(Exception):
    """The document is not an SVG, or is more than a picture; the message says which."""


def check_svg(document: bytes) -> None:
    """Check that a document is an SVG that runs nothing.

    Raises:
        NotAPicture: it is not.
    """
    elements = _Elements()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = elements.start
    parser.ProcessingInstructionHandler = elements.instruction
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise NotAPicture(f"it is not an SVG ({error})") from error


class _Elements:
    def __init__(self) -> None:
        self._is_root = True

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Refuse other documents than SVG, and elements and attributes that run something."""
        namespace, _, local = name.rpartition(" ")
        if self._is_root and name != f"{_SVG} svg":
            raise NotAPicture(f'it is not an SVG: its root must be <svg xmlns="{_SVG}">')
        self._is_root = False
        if namespace == _XHTML or local.lower() in _ACTIVE:
            raise NotAPicture(f"it is more than a picture: remove <{local[:40]}>")
        for attribute, value in attributes.items():
            local = attribute.rpartition(" ")[2]
            if local.lower().startswith("on") or "javascript:" in _squeezed(value):
                raise NotAPicture(f"it is more than a picture: remove the attribute {local[:40]}")

    def instruction(self, target: str, _data: str) -> None:
        """Refuse style sheets, which can turn the document into another."""
        if target.lower().startswith("xml-"):
            raise NotAPicture(f"it is more than a picture: remove <?{target[:40]}?>")


def _squeezed(value: str) -> str:
    """Return an attribute's value without what browsers ignore in the scheme of a URL."""
    return "".join(character for character in value if character > " ").lower()
