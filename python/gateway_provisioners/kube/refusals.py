"""Errors of the Kubernetes API and its client library, as errors of this package."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

import aiohttp
from aiohttp.http import HttpProcessingError
from kubernetes.aio.client.exceptions import ApiException
from pydantic import ValidationError

from gateway_provisioners.errors import ClusterError

# An answer that is not JSON is a ValueError, and so is a manifest that the library refuses (ValidationError),
# which never reaches the API server.
LIBRARY_ERRORS = (
    ApiException,
    ValueError,
    asyncio.TimeoutError,
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,
)


def refusal(status: int, body: bytes) -> ClusterError:
    """Turn the API's Status object into an error; any other body is dropped: it may hold anything."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = {}
    return refusal_of(status, answer if isinstance(answer, dict) else {})


def refusal_of(status: int, answer: dict[str, object]) -> ClusterError:
    """Turn the API's Status object into an error."""
    message = str(answer.get("message") or f"HTTP {status} without an explanation")
    return ClusterError(message, status=status, api_reason=str(answer.get("reason") or ""))


def translated(error: Exception) -> ClusterError:
    """Return one of LIBRARY_ERRORS as an error of this package."""
    if isinstance(error, ValidationError):
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return ClusterError(problems(error, depth=1), status=status, api_reason="Invalid")
    if isinstance(error, ApiException):
        reason = str(error.reason or "")
        return ClusterError(reason, status=error.status or 0, api_reason=reason)
    if isinstance(error, asyncio.TimeoutError):
        return ClusterError("no answer in time")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        # Its own message quotes the proxy's URL, with the password.
        return ClusterError(
            f"the proxy answers with status {error.status}: see HTTPS_PROXY and NO_PROXY"
        )
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return ClusterError("the answer is not JSON: a proxy on the way may have given it")
    return ClusterError(f"{type(error).__name__}: {error}")


def problems(error: ValidationError, *, depth: int = 0) -> str:
    """List the fields that are refused, and why; no values, which may be secret.

    Args:
        depth: the number of the first parts of a field's path that are left out.
    """
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'][depth:]))}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    )
