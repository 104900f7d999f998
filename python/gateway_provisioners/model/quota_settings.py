"""The setting GP_QUOTAS: the quotas of users and groups as JSON, in the form of the chart's `gateway.quotas`.

{"eachUser": {"cpus": 8, "memory": "32Gi", "gpus": 1},
 "users": {"alice": {"kernels": 10, "cpus": "unlimited"}},
 "groups": {"students": {"kernels": 40, "memory": "200Gi"}}}
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.model.quota import CPUS, GPUS, KERNELS, MEMORY, KernelQuota
from gateway_provisioners.model.request.quantity import amount

_EACH_USER, _USERS, _GROUPS = "eachUser", "users", "groups"
_RESOURCES = (KERNELS, CPUS, MEMORY, GPUS)
_UNLIMITED = "unlimited"


def with_quotas(quota: KernelQuota, text: str) -> KernelQuota:
    """Return `quota` with the quotas of users and groups in a value of GP_QUOTAS; "" has none.

    Raises:
        ConfigurationError: the value is malformed; the message names the field.
    """
    if not text:
        return quota
    try:
        quotas = json.loads(text, object_pairs_hook=_without_repetitions)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"GP_QUOTAS is not valid JSON: {error}.") from error
    fields = _object("", quotas, allowed=(_EACH_USER, _USERS, _GROUPS))
    return replace(
        quota,
        each_user=_limits(_EACH_USER, fields.get(_EACH_USER, {}), of_each=True),
        users={
            name: _amounts(f"{_USERS}.{name}", amounts)
            for name, amounts in _object(_USERS, fields.get(_USERS, {})).items()
        },
        groups={
            name: _limits(f"{_GROUPS}.{name}", amounts)
            for name, amounts in _object(_GROUPS, fields.get(_GROUPS, {})).items()
        },
    )


def _limits(where: str, amounts: Any, *, of_each: bool = False) -> dict[str, Fraction]:
    found = _amounts(where, amounts)
    if of_each and KERNELS in found:
        raise ConfigurationError(
            f"GP_QUOTAS: {where}.{KERNELS} does not exist; GP_MAX_KERNELS_PER_USER "
            "(gateway.maxKernelsPerUser) is the number of each user's kernels."
        )
    return {resource: limit for resource, limit in found.items() if limit is not None}


def _amounts(where: str, amounts: Any) -> dict[str, Fraction | None]:
    return {
        resource: _amount(where, resource, value)
        for resource, value in _object(where, amounts, allowed=_RESOURCES).items()
    }


def _amount(where: str, resource: str, value: Any) -> Fraction | None:
    """Return an amount; None if it is unlimited."""
    if value == _UNLIMITED:
        return None
    is_count = resource in (KERNELS, GPUS)
    number = None
    with contextlib.suppress(ConfigurationError):
        if isinstance(value, (str, int, float)):
            number = amount(str(value))
    if number is None or (is_count and number.denominator != 1):
        example = "a whole number" if is_count else "a quantity such as 4, 500m or 16Gi"
        raise ConfigurationError(
            f"GP_QUOTAS: {where}.{resource} must be {example}, or {_UNLIMITED!r}, and not "
            f"{json.dumps(value)}."
        )
    return number


def _object(where: str, value: Any, *, allowed: tuple[str, ...] = ()) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"GP_QUOTAS: {where or 'it'} must be an object.")
    for name in value:
        if allowed and name not in allowed:
            path = f"{where}.{name}" if where else name
            raise ConfigurationError(
                f"GP_QUOTAS: {path} does not exist; use {', '.join(allowed[:-1])} or {allowed[-1]}."
            )
    return value


def _without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name is there twice in one object")
    return fields
