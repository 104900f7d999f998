"""Errors as users and as other servers see them."""

import pytest
from tornado import web

from gateway_provisioners.errors import (
    ClusterError,
    GatewayProvisionersError,
    LaunchFailed,
    PolicyViolation,
)
from gateway_provisioners.provisioners.http_errors import as_http_errors


def test_a_failed_launch_has_the_kernel_and_the_log_in_its_message():
    failed = LaunchFailed("ImagePull", "Its image is missing.", container_ran=True)
    assert str(failed) == "Its image is missing."
    failed.kernel = "'py' (4711)"
    failed.log = "  \n"
    assert str(failed) == "Its image is missing.\nKernel 'py' (4711)"
    failed.log = "one\ntwo\n"
    assert str(failed) == (
        "Its image is missing.\nThe last lines of its log:\none\ntwo\nKernel 'py' (4711)"
    )


@pytest.mark.parametrize(
    "error", [PolicyViolation("100% of %s are refused."), LaunchFailed("Quota", "100% is used.")]
)
def test_other_servers_get_the_status_and_the_message(error):
    with pytest.raises(web.HTTPError) as failure, as_http_errors():
        raise error
    assert failure.value.status_code == error.http_status
    assert failure.value.get_message() == str(error)
    assert failure.value.__cause__ is error


def test_unforeseen_errors_are_not_converted():
    with pytest.raises(KeyError), as_http_errors():
        raise KeyError("x")
    with pytest.raises(web.HTTPError), as_http_errors():
        raise GatewayProvisionersError("x")


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("OOMKilled", 422),
        ("QuotaExceeded", 403),
        ("Evicted", 503),
        ("ClusterUnavailable", 503),
        ("Timeout", 504),
        ("ImagePull", 500),
        ("Unschedulable", 500),
        ("Unheard", 500),
    ],
)
def test_the_status_says_who_can_mend_it(reason, status):
    failed = LaunchFailed(reason, "It failed.")
    assert failed.http_status == status
    assert (failed.retry_after is not None) == (status == 503)


def test_what_can_pass_may_be_tried_again():
    failed = LaunchFailed("ImagePull", "It failed.", can_pass=True)
    assert failed.http_status == 503
    assert failed.retry_after


@pytest.mark.parametrize(
    ("reason", "sizes", "volumes", "status"),
    [
        ("Unschedulable", True, False, 422),
        ("Unschedulable", False, True, 500),
        ("VolumeMissing", False, True, 422),
        ("VolumeMissing", True, False, 500),
        ("ImagePull", True, True, 500),
        ("Evicted", True, True, 503),
    ],
)
def test_what_the_user_asked_for_the_user_can_mend(reason, sizes, volumes, status):
    failed = LaunchFailed(reason, "It failed.")
    failed.note_request(sizes=sizes, volumes=volumes)
    assert failed.http_status == status


@pytest.mark.parametrize(("status", "answer"), [(0, 503), (429, 503), (504, 503), (403, 500)])
def test_an_engine_that_does_not_answer_may_do_so_later(status, answer):
    error = ClusterError("It failed.", status=status)
    assert error.http_status == answer
    assert (error.retry_after is not None) == (answer == 503)
