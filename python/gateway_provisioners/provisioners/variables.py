"""GP_* variables of this process's environment, as the settings want them."""

from __future__ import annotations

import os
import re

from traitlets import TraitError


def text(variable: str) -> str:
    """The variable without the white space around it, "" where there is none."""
    return os.environ.get(variable, "").strip()


def names(variable: str, fallback: tuple[str, ...] = ()) -> list[str]:
    """The variable as names between commas, `fallback` where there is none."""
    value = os.environ.get(variable)
    if value is None:
        return list(fallback)
    return [name.strip() for name in value.split(",") if name.strip()]


def number(variable: str, fallback: float) -> float:
    """The variable as a number, `fallback` where there is none."""
    value = text(variable)
    if not value:
        return fallback
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", value):
        msg = f"{variable}={value!r} is no number."
        raise TraitError(msg)
    return float(value)


def flag(variable: str, *, fallback: bool) -> bool:
    """The variable as true or false, `fallback` where there is none."""
    value = text(variable).lower()
    if value not in {"", "true", "false", "1", "0", "yes", "no"}:
        msg = f"{variable}={value!r} is neither true nor false."
        raise TraitError(msg)
    return value in {"true", "1", "yes"} if value else fallback
