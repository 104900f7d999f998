"""Optional parts of the wire protocol, by name (launchers/protocol/SPEC.md, "Features")."""

from __future__ import annotations

import re

# The launcher's report carries a key that replaces the launch key.
FRESH_KEY = "fresh-key"
# The launcher answers the command {"usage": 1}.
USAGE = "usage"
# The mailbox confirms requests, and drops those that it has had.
ACCEPTED = "accepted"
GATEWAY_FEATURES: tuple[str, ...] = (FRESH_KEY,)
_MAX_ENTRIES = 32
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def parse_features(value: object) -> tuple[str, ...]:
    """Read the features that a peer offers; malformed entries, and those beyond the limit, are ignored.

    Args:
        value: the JSON field `features`, or None if it is missing.
    """
    if not isinstance(value, list):
        return ()
    entries = value[:_MAX_ENTRIES]
    names = (each for each in entries if isinstance(each, str) and _NAME.fullmatch(each))
    return tuple(dict.fromkeys(names))
