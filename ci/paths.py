"""The places of the checkout and the cache, and the version of the checkout."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def cache() -> Path:
    """Return the folder that outlives a checkout: ``$GP_CACHE``, else below the user's cache folder."""
    if own := os.environ.get("GP_CACHE"):
        return Path(own).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gateway-provisioners"


def version() -> str:
    """Return the version that the wheel, the images and the chart share."""
    text = (ROOT / "python/gateway_provisioners/_version.py").read_text()
    found = re.search(r'__version__ = "([^"]+)"', text)
    if found is None:
        raise RuntimeError("python/gateway_provisioners/_version.py does not set __version__")
    return found.group(1)
