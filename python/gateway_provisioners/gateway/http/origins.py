"""Which web pages may talk to the gateway from a browser (CORS)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

ANY = "*"


def web_settings(origins: Sequence[str]) -> dict[str, Any]:
    """The settings of the tornado application that let pages from these origins in, and no others.

    Programs send no origin and are let in whatever stands here; everybody needs the token.
    """
    if not origins:
        # Without a pattern, jupyter_server would let a page read what a token in its URL gives it.
        return {"allow_origin_pat": re.compile("(?!)")}
    allowed: dict[str, Any] = {
        # What JupyterLab's client library sends.
        "kg_allow_headers": "Authorization, Content-Type",
        "kg_allow_methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
    }
    if ANY in origins:
        return {**allowed, "allow_origin": ANY, "kg_allow_origin": ANY}
    # The handlers compare in lower case, and from the beginning only.
    alternatives = "|".join(re.escape(origin.lower().rstrip("/")) for origin in origins)
    return {**allowed, "allow_origin_pat": re.compile(rf"(?:{alternatives})\Z")}
