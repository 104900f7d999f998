"""Optional parts of the wire protocol, by name (launchers/protocol/SPEC.md, "Features")."""

from __future__ import annotations

import re

GATEWAY_FEATURES: tuple[str, ...] = ()
_MOST_ENTRIES = 32
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def parse_features(value: object) -> tuple[str, ...]:
    """Read the features that a peer offers; what is malformed or beyond the limit offers nothing.

    Args:
        value: of the JSON field `features`, or None where the field is missing.
    """
    if not isinstance(value, list):
        return ()
    entries = value[:_MOST_ENTRIES]
    names = (each for each in entries if isinstance(each, str) and _NAME.fullmatch(each))
    return tuple(dict.fromkeys(names))
