"""CPU, memory and GPU amounts as Kubernetes writes them.

Grammar: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
(without signs: nobody asks for less than nothing).
"""

from __future__ import annotations

import re
from fractions import Fraction

from gateway_provisioners.errors import ConfigurationError, InvalidRequest

_QUANTITY = re.compile(
    r"(?P<number>[0-9]{1,15}(\.[0-9]{1,9})?)"
    r"([eE](?P<exponent>[+-]?[0-9]{1,2})|(?P<suffix>[numkMGTPE]|[KMGTPE]i))?"
)
_COUNT = re.compile(r"[0-9]{1,6}")
_SUFFIXES = {
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate("num", start=-3)},
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{prefix}i": Fraction(1024) ** power for power, prefix in enumerate("KMGTPE", start=1)},
}


def amount(text: str) -> Fraction:
    """The number that a quantity stands for, exactly: cores, bytes or devices.

    Raises:
        ConfigurationError: it is no quantity.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        msg = f"{text!r} is no quantity; write for example 2, 500m, 1.5 or 4Gi."
        raise ConfigurationError(msg)
    number = Fraction(match["number"])
    if match["exponent"]:
        return number * Fraction(10) ** int(match["exponent"])
    return number * _SUFFIXES[match["suffix"]] if match["suffix"] else number


def parse_quantity(name: str, value: str) -> str:
    """`value` if it is a CPU or memory quantity.

    Raises:
        InvalidRequest: it is none; the message names the variable `name` and quotes the value.
    """
    if not _QUANTITY.fullmatch(value):
        msg = f"{name}={value!r} is no quantity; write for example 2, 500m, 1.5 or 4Gi."
        raise InvalidRequest(msg)
    return value


def parse_limit(name: str, value: str) -> str:
    """`value` if it is a CPU or memory quantity that can be a limit.

    Raises:
        InvalidRequest: it is no quantity, or nothing.
    """
    if amount(parse_quantity(name, value)) == 0:
        msg = f"{name}={value!r}: Kubernetes reads a limit of nothing as no limit; ask for more."
        raise InvalidRequest(msg)
    return value


def parse_count(name: str, value: str) -> str:
    """`value` if it is a whole number of devices.

    Raises:
        InvalidRequest: it is none.
    """
    if not _COUNT.fullmatch(value):
        msg = f"{name}={value!r} is no whole number."
        raise InvalidRequest(msg)
    return value
