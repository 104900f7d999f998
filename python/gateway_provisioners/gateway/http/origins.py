"""Cross-origin rules (CORS): the web pages that may use the gateway from a browser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

ANY = "*"


def web_settings(origins: Sequence[str], auth_header: str) -> dict[str, Any]:
    """Return the settings of the tornado application that admit pages from these origins only.

    Args:
        auth_header: the header with the clients' tokens.

    Programs send no origin and are always admitted; all clients need the token.
    """
    if not origins:
        # Without a pattern, jupyter_server would let any page that has a token read the answers.
        return {"allow_origin_pat": re.compile("(?!)")}
    allowed: dict[str, Any] = {
        # JupyterLab's client library sends these.
        "kg_allow_headers": f"{auth_header}, Content-Type",
        "kg_allow_methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
    }
    if ANY in origins:
        return {**allowed, "allow_origin": ANY, "kg_allow_origin": ANY}
    # The handlers compare in lower case, and from the beginning only.
    alternatives = "|".join(re.escape(origin.lower().rstrip("/")) for origin in origins)
    return {**allowed, "allow_origin_pat": re.compile(rf"(?:{alternatives})\Z")}
