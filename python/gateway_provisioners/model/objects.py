"""The objects of engines' APIs, as JSON has them."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
