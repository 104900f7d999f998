"""CPU, memory and GPU amounts as Kubernetes writes them.

Grammar: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
(without signs: amounts are never negative).
"""

from __future__ import annotations

import re
from fractions import Fraction

from gateway_provisioners.errors import ConfigurationError, InvalidRequest
from gateway_provisioners.model.quoting import quoted

_QUANTITY = re.compile(
    r"(?P<number>[0-9]{1,15}(\.[0-9]{1,9})?)"
    r"([eE](?P<exponent>[+-]?[0-9]{1,2})|(?P<suffix>[numkMGTPE]|[KMGTPE]i))?"
)
_NOT_VALID = "is not a valid quantity; use for example 2, 500m, 1.5 or 4Gi."
MAX_COUNT = 999_999
_COUNT = re.compile(r"[0-9]{1,6}")
# The smallest CPU limit of the Linux kernel: 1 ms of every 100 ms. 0 would mean no limit to every engine.
_SMALLEST_CPU_LIMIT = "10m"
_SMALLEST_MEMORY_LIMIT = "6Mi"  # Docker's; a kernel needs more in any case
_SUFFIXES = {
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate("num", start=-3)},
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{prefix}i": Fraction(1024) ** power for power, prefix in enumerate("KMGTPE", start=1)},
}


def amount(text: str) -> Fraction:
    """Return the exact number that a quantity stands for: cores, bytes or devices.

    Raises:
        ConfigurationError: it is not a valid quantity.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text!r} {_NOT_VALID}")
    number = Fraction(match["number"])
    if match["exponent"]:
        return number * Fraction(10) ** int(match["exponent"])
    return number * _SUFFIXES[match["suffix"]] if match["suffix"] else number


def binary_quantity(size: int) -> str:
    """Return a number of bytes as a quantity, in the largest unit that leaves it whole."""
    unit, number = "", size
    for prefix in "KMGTPE":
        if not number or number % 1024:
            break
        unit, number = f"{prefix}i", number // 1024
    return f"{number}{unit}"


def parse_quantity(name: str, value: str) -> str:
    """Return `value` if it is a CPU or memory quantity.

    Raises:
        InvalidRequest: it is not; the message names the variable `name` and quotes the value.
    """
    if not _QUANTITY.fullmatch(value):
        raise InvalidRequest(f"{name}={quoted(value)} {_NOT_VALID}")
    return value


def parse_cpu_limit(name: str, value: str) -> str:
    """Return `value` if it is a quantity that engines enforce as a CPU limit.

    Raises:
        InvalidRequest: it is not a valid quantity, or too small.
    """
    return _parse_limit(name, value, smallest=_SMALLEST_CPU_LIMIT)


def parse_memory_limit(name: str, value: str) -> str:
    """Return `value` if it is a quantity that engines enforce as a memory limit.

    Raises:
        InvalidRequest: it is not a valid quantity, or too small.
    """
    return _parse_limit(name, value, smallest=_SMALLEST_MEMORY_LIMIT)


def _parse_limit(name: str, value: str, *, smallest: str) -> str:
    if amount(parse_quantity(name, value)) < amount(smallest):
        msg = f"{name}={quoted(value)} is too small for a limit; use at least {smallest}."
        raise InvalidRequest(msg)
    return value


def parse_count(name: str, value: str) -> str:
    """Return `value` if it is a whole number of devices.

    Raises:
        InvalidRequest: it is not.
    """
    if not _COUNT.fullmatch(value):
        msg = f"{name}={quoted(value)} must be a whole number from 0 to {MAX_COUNT}."
        raise InvalidRequest(msg)
    return value
