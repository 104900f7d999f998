"""Errors as clients see them."""

import pytest
from tornado.web import HTTPError

from gateway_provisioners.errors import LaunchFailed, PolicyViolation
from gateway_provisioners.gateway.failures import (
    Failure,
    describe,
    known_cause,
    public_words,
    summarize,
)

CAUSE = LaunchFailed("Quota", "100% of the quota is used.")


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
def test_the_cause_is_found_in_any_wrapper(error):
    assert describe(error, 500) == Failure(500, "Quota", str(CAUSE))
    assert summarize(error) == f"Quota: {CAUSE}"


def test_a_message_has_short_lines_and_the_kernel_last():
    cause = LaunchFailed("ContainerExited", "It failed, " + "and so on " * 300)
    cause.log = "a line of a log " * 375  # as much as `last_lines` leaves
    cause.kernel = "'x' (4711)"
    message = describe(cause, 500).message
    first, *others = message.split("\n")
    assert len(first) <= 50
    assert max(map(len, others)) <= 100
    assert others[-1] == "Kernel 'x' (4711)"


def test_the_cause_determines_the_status():
    error = raised_from(HTTPError(500, "x"), PolicyViolation("no"))
    assert describe(error, 500).status == 403


def test_upstream_http_errors_keep_their_message():
    assert describe(HTTPError(404, "Kernel does not exist: %s", "abc"), 404) == Failure(
        404, "Not Found", "Kernel does not exist: abc"
    )
    assert describe(HTTPError(400), 400) == Failure(400, "Bad Request", "Bad Request")


def test_an_internal_error_does_not_reveal_its_message():
    failure = describe(RuntimeError("a path, a secret"), 500)
    assert failure.status == 500
    assert failure.message == "Internal error; see the gateway log."


def test_a_status_without_an_error():
    assert describe(None, 405) == Failure(405, "Method Not Allowed", "Method Not Allowed")


def test_a_cycle_of_causes_is_harmless():
    error = ValueError("wrong")
    error.__cause__ = error
    assert known_cause(error) is None
    first, second = KeyError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert known_cause(first) is None


def test_the_words_for_all_who_see_a_kernel_hold_no_log():
    failure = LaunchFailed("ContainerExited", "It exited.", container_ran=True)
    failure.log = "a secret"
    failure.kernel = "'x' (4711)"
    assert public_words(failure, "Unknown.") == "It exited."
    assert public_words(ValueError("a secret"), "Unknown.") == "Unknown."
