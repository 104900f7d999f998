"""The parser of the body of `POST /api/kernels`: pure, no I/O."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from gateway_provisioners.errors import GatewayProvisionersError, InvalidRequest, PolicyViolation
from gateway_provisioners.model.quoting import quoted

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_NAME = 256
_MOST_VARIABLES = 2000


class _Body(msgspec.Struct):
    """The fields of a request, which are not parsed yet, and no others: any of them may be anything."""

    name: msgspec.Raw = msgspec.Raw(b"null")
    kernel_id: msgspec.Raw = msgspec.Raw(b"null")
    path: msgspec.Raw = msgspec.Raw(b"null")
    env: msgspec.Raw = msgspec.Raw(b"null")


_body = msgspec.json.Decoder(_Body | None)


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
    fields = _fields(body)
    name = forced_name or _optional_text(fields.name, "name") or default_name
    names = known_names()
    if name.lower() not in names:
        known = ", ".join(sorted(names)) or "none"
        raise UnknownKernel(f"There is no kernel named {quoted(name)} here. Available: {known}.")
    return StartRequest(
        name=name.lower(),
        kernel_id=_kernel_id(_optional_text(fields.kernel_id, "kernel_id")),
        path=_optional_text(fields.path, "path"),
        environment=_environment(fields.env, client_variables),
    )


def _fields(body: bytes) -> _Body:
    if not body.strip():
        return _Body()
    try:
        return _body.decode(body) or _Body()
    except msgspec.ValidationError as error:
        raise InvalidRequest("The body of the request is not a JSON object.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body of the request is not JSON.") from error


def _optional_text(value: msgspec.Raw, key: str) -> str | None:
    try:
        return msgspec.json.decode(value, type=str | None)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"`{key}` is not a string.") from error


def _kernel_id(value: str | None) -> str | None:
    if not value:
        return None
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise InvalidRequest("`kernel_id` is not a UUID.") from error


def _environment(raw: msgspec.Raw, client_variables: Collection[str]) -> Mapping[str, str]:
    try:
        contents = msgspec.json.decode(raw, type=dict[str, msgspec.Raw] | None) or {}
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("`env` is not a JSON object.") from error
    if len(contents) > _MOST_VARIABLES:
        raise InvalidRequest(f"`env` has more than {_MOST_VARIABLES} variables.")
    environment = {}
    for variable, value in contents.items():
        if len(variable) > _LONGEST_NAME or not _VARIABLE.fullmatch(variable):
            raise InvalidRequest(
                f"{quoted(variable)} in `env` is not a valid name of an environment variable."
            )
        try:
            content = msgspec.json.decode(value, type=str)
        except (ValueError, RecursionError):  # which may hold the value
            raise InvalidRequest(f"The value of {variable} in `env` is not a string.") from None
        if "\0" in content:
            raise InvalidRequest(f"The value of {variable} in `env` contains a NUL character.")
        if not variable.startswith("KERNEL_") and variable not in client_variables:
            allowed = ", ".join(["KERNEL_*", *sorted(client_variables)])
            raise PolicyViolation(
                f"Clients of this gateway may not set {variable}, only {allowed}. Its administrator "
                f"can allow it by adding it to GP_CLIENT_ENVS."
            )
        environment[variable] = content
    return environment
