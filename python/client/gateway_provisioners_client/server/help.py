"""The page of the documentation that says more about a failure."""

from __future__ import annotations

import re

from gateway_provisioners_client._version import __version__

_PAGE = "https://github.com/jupyter-server/gateway_provisioners/blob/v{}/docs/troubleshooting.md"
_REASON = re.compile(r"[A-Za-z]{1,64}")


def help_for(reason: str) -> str:
    """Return the URL for a reason of the gateway, such as `ImagePull`; "" without one."""
    if not _REASON.fullmatch(reason):
        return ""
    return f"{_PAGE.format(__version__)}#{reason.lower()}"
