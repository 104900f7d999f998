"""CPU, memory and GPU amounts as Kubernetes writes them.

Grammar: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
(the part of it that people type; no exponents, no signs).
"""

from __future__ import annotations

import re
from decimal import Decimal

from gateway_provisioners.errors import ConfigurationError, InvalidRequest

_QUANTITY = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_FACTORS = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate(("k", "M", "G", "T"), 1)},
    **{letter: Decimal(1024) ** power for power, letter in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)},
}
_COUNT = re.compile(r"[0-9]{1,6}")


def parse_quantity(name: str, value: str) -> str:
    """`value` if it is a CPU or memory quantity.

    Raises:
        InvalidRequest: it is none; the message names the variable `name` and quotes the value.
    """
    if not _QUANTITY.fullmatch(value):
        msg = f"{name}={value!r} is no quantity; write for example 2, 500m, 1.5 or 4Gi."
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


def amount(text: str) -> Decimal:
    """The number that a quantity stands for: cores, bytes or devices.

    Raises:
        ConfigurationError: it is no quantity.
    """
    if not _QUANTITY.fullmatch(text):
        msg = f"{text!r} is no quantity; write for example 2, 500m, 1.5 or 4Gi."
        raise ConfigurationError(msg)
    digits = text.rstrip("mkKMGTi")
    return Decimal(digits) * _FACTORS[text[len(digits) :]]
