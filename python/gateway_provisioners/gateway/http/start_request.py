"""The parser of the bodies of `POST /api/kernels` and `POST /api/sessions`: pure, no I/O."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

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


class _Notebook(msgspec.Struct):
    """The same of a notebook, as clients of old send it: one of the two is its path."""

    name: msgspec.Raw = msgspec.Raw(b"null")
    path: msgspec.Raw = msgspec.Raw(b"null")


class _SessionBody(msgspec.Struct):
    """The same of a session; `kernel` is the body of a start request."""

    path: msgspec.Raw = msgspec.Raw(b"null")
    notebook: msgspec.Raw = msgspec.Raw(b"null")
    kernel: msgspec.Raw = msgspec.Raw(b"null")


_Struct = TypeVar("_Struct", bound=msgspec.Struct)


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
    body: bytes | msgspec.Raw,
    *,
    known_names: Callable[[], Collection[str]],
    default_name: str,
    forced_name: str,
    client_variables: Collection[str],
    what: str = "The body of the request",
) -> StartRequest:
    """Check the body of a start request.

    Args:
        body: a JSON object, or empty.
        what: its name in messages.
        known_names: returns the names of the kernelspecs.
        default_name: the kernelspec for a request that names none.
        forced_name: the kernelspec for all requests, or "".
        client_variables: variables that clients may set besides `KERNEL_*`.

    Raises:
        InvalidRequest: the body is malformed.
        PolicyViolation: it sets a variable that clients may not set.
        UnknownKernel: it names a kernelspec that does not exist.
    """
    fields = _fields(body, _Body, what)
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


def parse_session_request(body: bytes, **options: Any) -> StartRequest:
    """Check the body of a request for a session: the kernel to start, and the notebook's path.

    Args:
        options: those of `parse_start_request`, whose errors this raises.
    """
    fields = _fields(body, _SessionBody, "The body of the request")
    path = _notebook_path(fields)
    kernel = parse_start_request(fields.kernel, what="`kernel`", **options)
    # With an id of the client's choice, one kernel could have any number of sessions.
    return replace(kernel, path=path, kernel_id=None)


def parse_session_path(body: bytes) -> str:
    """Return the notebook's new path from the body of a request that changes a session.

    Raises:
        InvalidRequest: it is malformed, or changes something else.
    """
    fields = _fields(body, _SessionBody, "The body of the request")
    if bytes(fields.kernel) != b"null":
        raise InvalidRequest(
            "A session keeps its kernel: end it, and start one with another kernel."
        )
    return _notebook_path(fields)


def _notebook_path(fields: _SessionBody) -> str:
    notebook = _fields(fields.notebook, _Notebook, "`notebook`")
    path = (
        _optional_text(fields.path, "path")
        or _optional_text(notebook.path, "path")
        or _optional_text(notebook.name, "name")
    )
    if not path:
        raise InvalidRequest("`path` is missing: a session is that of a notebook.")
    return path


def _fields(body: bytes | msgspec.Raw, kind: type[_Struct], what: str) -> _Struct:
    if not bytes(body).strip():
        return kind()
    try:
        return msgspec.json.decode(body, type=kind | None) or kind()
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{what} is not a JSON object.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{what} is not JSON.") from error


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
