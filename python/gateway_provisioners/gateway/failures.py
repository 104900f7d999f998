"""Errors in words: a status, a reason and a message for the client, and one line for the log."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from http.client import responses

from tornado.web import HTTPError

from gateway_provisioners.errors import GatewayProvisionersError, LaunchFailed
from gateway_provisioners.model.launch_progress import LaunchProgress
from gateway_provisioners.model.wording import in_short_lines

INTERNAL_REASON = "Internal"
_INTERNAL_MESSAGE = "Internal error; see the gateway log."

# Bytes of a log's tail are the longest part of a message.
_LONGEST_MESSAGE = 10_000


@dataclass(frozen=True)
class Failure:
    """An answer in the form that jupyter_server's gateway client shows as `[message] reason`.

    Attributes:
        retry_after: the seconds after which to try again; None: not known.
    """

    status: int
    reason: str
    message: str
    retry_after: int | None = None


def known_cause(error: BaseException | None) -> GatewayProvisionersError | None:
    """Return the error of ours that `error` is or was raised from, if any.

    jupyter_server wraps the errors of a kernel manager in errors of its own, which hide the cause.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, GatewayProvisionersError):
            return error
        seen.add(id(error))  # an error may have been raised from itself
        error = error.__cause__
    return None


def can_pass(error: BaseException) -> bool:
    """Return whether a start only took too long, because of a condition that can pass."""
    cause = known_cause(error)
    return isinstance(cause, LaunchFailed) and cause.can_pass


def public_words(error: BaseException, otherwise: str) -> str:
    """Return a known cause, without the lines of a log: not all who see the kernel may see those.

    Args:
        otherwise: the words for an error whose cause is not known.
    """
    cause = known_cause(error)
    return cause.message if isinstance(cause, LaunchFailed) else str(cause or otherwise)


def describe(error: BaseException | None, status: int) -> Failure:
    """Describe an error to a client.

    Args:
        error: the exception; None if a handler only set a status.
        status: the HTTP status that tornado chose.
    """
    if cause := known_cause(error):
        return Failure(cause.http_status, cause.reason, _worded(str(cause)), cause.retry_after)
    phrase = responses.get(status, "Unknown")
    if isinstance(error, HTTPError):
        return Failure(status, error.reason or phrase, _worded(error.get_message() or phrase))
    return Failure(status, phrase, phrase if error is None else _INTERNAL_MESSAGE)


def fail(progress: LaunchProgress, error: BaseException) -> None:
    """End the progress of a start or restart with an error, in the words of its answer."""
    failure = describe(error, HTTPStatus.INTERNAL_SERVER_ERROR)
    progress.fail(failure.reason, failure.message)


def _worded(message: str) -> str:
    """Return a message as an answer can hold it; parts of it may be a client's or a kernel's."""
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}..."
    return in_short_lines(message)


def summarize(error: BaseException) -> str:
    """Describe an error in a log line: by its known cause's reason and message, else by its repr."""
    cause = known_cause(error)
    return f"{cause.reason}: {cause}" if cause else repr(error)
