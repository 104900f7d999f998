"""What clients are told of errors."""

import pytest
from tornado.web import HTTPError

from gateway_provisioners.errors import LaunchFailed, PolicyViolation
from gateway_provisioners.gateway.failures import Failure, describe, in_one_line, known_cause

CAUSE = LaunchFailed("Quota", "Kernel 'x' did not start: 100% of the quota is used.")


def raised_from(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        CAUSE,
        raised_from(HTTPError(500, str(CAUSE)), CAUSE),
        raised_from(HTTPError(500, "Exception restarting kernel"), CAUSE),
        raised_from(HTTPError(500), raised_from(RuntimeError("x"), CAUSE)),
    ],
)
def test_the_cause_is_told_whatever_it_is_wrapped_in(error):
    assert describe(error, 500) == Failure(500, "Quota", str(CAUSE))
    assert in_one_line(error) == f"Quota: {CAUSE}"


def test_the_cause_says_the_status():
    error = raised_from(HTTPError(500, "x"), PolicyViolation("no"))
    assert describe(error, 500).status == 403


def test_hosts_errors_keep_their_words():
    assert describe(HTTPError(404, "Kernel does not exist: %s", "abc"), 404) == Failure(
        404, "Not Found", "Kernel does not exist: abc"
    )
    assert describe(HTTPError(400), 400) == Failure(400, "Bad Request", "Bad Request")


def test_nothing_is_told_of_what_was_not_foreseen():
    failure = describe(RuntimeError("a path, a secret"), 500)
    assert failure.status == 500
    assert "secret" not in failure.message


def test_a_status_alone():
    assert describe(None, 405) == Failure(405, "Method Not Allowed", "Method Not Allowed")


def test_an_error_that_was_raised_from_itself_ends_nothing():
    error = ValueError("wrong")
    error.__cause__ = error
    assert known_cause(error) is None
    first, second = KeyError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert known_cause(first) is None
