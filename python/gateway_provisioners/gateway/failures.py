"""What a client is told when something went wrong: JSON with a reason and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import responses

from tornado.web import HTTPError

from gateway_provisioners.errors import GatewayProvisionersError

_UNEXPECTED = "The gateway failed in a way it did not foresee; the gateway's log says more."


@dataclass(frozen=True)
class Failure:
    """An answer in the form that jupyter_server's gateway client shows as `[message] reason`."""

    status: int
    reason: str
    message: str


def known_cause(error: BaseException | None) -> GatewayProvisionersError | None:
    """The error of ours that `error` is or was raised from, if any.

    jupyter_server wraps what a kernel manager raises into errors of its own that hide the cause.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, GatewayProvisionersError):
            return error
        seen.add(id(error))  # somebody may have raised an error from itself
        error = error.__cause__
    return None


def describe(error: BaseException | None, status: int) -> Failure:
    """Say to a client what happened.

    Args:
        error: what was raised, or None where a handler only gave a status.
        status: the HTTP status that tornado chose.
    """
    if cause := known_cause(error):
        return Failure(cause.http_status, cause.reason, str(cause))
    phrase = responses.get(status, "Unknown")
    if isinstance(error, HTTPError):
        return Failure(status, error.reason or phrase, error.get_message() or phrase)
    return Failure(status, phrase, phrase if error is None else _UNEXPECTED)


def in_one_line(error: BaseException) -> str:
    """The cause for a log line: our sentence, or what the error is and says."""
    cause = known_cause(error)
    return f"{cause.reason}: {cause}" if cause else repr(error)
