"""The parser of the body of `POST /api/kernels`: pure, no I/O."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners.errors import GatewayProvisionersError, InvalidRequest, PolicyViolation
from gateway_provisioners.model.quoting import quoted

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_NAME = 256


class UnknownKernel(GatewayProvisionersError):
    """The request names a kernelspec that does not exist."""

    reason = "UnknownKernel"
    http_status = 404


@dataclass(frozen=True)
class StartRequest:
    """One kernel to start.

    Attributes:
        name: the name of the kernelspec.
        kernel_id: the id that the client chose for the kernel, a UUID, or None.
        path: the notebook's path, relative to the root of the gateway's files, or None.
        environment: the client's variables, and no others; secret.
    """

    name: str
    kernel_id: str | None = None
    path: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_start_request(
    body: bytes,
    *,
    known_names: Callable[[], Collection[str]],
    default_name: str,
    forced_name: str,
    client_variables: Collection[str],
) -> StartRequest:
    """Check the body of a start request.

    Args:
        body: a JSON object, or empty.
        known_names: returns the names of the kernelspecs.
        default_name: the kernelspec for a request that names none.
        forced_name: the kernelspec for all requests, or "".
        client_variables: variables that clients may set besides `KERNEL_*`.

    Raises:
        InvalidRequest: the body is malformed.
        PolicyViolation: it sets a variable that clients may not set.
        UnknownKernel: it names a kernelspec that does not exist.
    """
    model = _json_object(body)
    name = forced_name or _optional_text(model, "name") or default_name
    names = known_names()
    if name.lower() not in names:
        known = ", ".join(sorted(names)) or "none"
        raise UnknownKernel(f"There is no kernel named {quoted(name)} here. Available: {known}.")
    return StartRequest(
        name=name.lower(),
        kernel_id=_kernel_id(_optional_text(model, "kernel_id")),
        path=_optional_text(model, "path"),
        environment=_environment(model.get("env"), client_variables),
    )


def _json_object(body: bytes) -> Mapping[str, Any]:
    if not body.strip():
        return {}
    try:
        model = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body of the request is not JSON.") from error
    if model is None:
        return {}
    if not isinstance(model, dict):
        raise InvalidRequest("The body of the request is not a JSON object.")
    return model


def _optional_text(model: Mapping[str, Any], key: str) -> str | None:
    value = model.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"`{key}` is not a string.")
    return value


def _kernel_id(value: str | None) -> str | None:
    if not value:
        return None
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise InvalidRequest("`kernel_id` is not a UUID.") from error


def _environment(value: Any, client_variables: Collection[str]) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest("`env` is not a JSON object.")
    for variable, content in value.items():
        if len(variable) > _LONGEST_NAME or not _VARIABLE.fullmatch(variable):
            raise InvalidRequest(
                f"{quoted(variable)} in `env` is not a valid name of an environment variable."
            )
        if not isinstance(content, str):
            raise InvalidRequest(f"The value of {variable} in `env` is not a string.")
        if "\0" in content:
            raise InvalidRequest(f"The value of {variable} in `env` contains a NUL character.")
        if not variable.startswith("KERNEL_") and variable not in client_variables:
            allowed = ", ".join(["KERNEL_*", *sorted(client_variables)])
            raise PolicyViolation(
                f"Clients of this gateway may not set {variable}, only {allowed}. Its administrator "
                f"can allow it by adding it to GP_CLIENT_ENVS."
            )
    return value
