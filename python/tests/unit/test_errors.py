"""Errors as users and as other servers see them."""

import pytest
from tornado import web

from gateway_provisioners.errors import GatewayProvisionersError, LaunchFailed, PolicyViolation
from gateway_provisioners.provisioners.http_errors import as_http_errors


def test_a_failed_launch_has_the_kernel_and_the_log_in_its_message():
    failed = LaunchFailed("ImagePull", "Its image is missing.", container_ran=True)
    assert str(failed) == "Its image is missing."
    failed.kernel = "'py' (4711)"
    failed.log = "  \n"
    assert str(failed) == "Kernel 'py' (4711) did not start. Its image is missing."
    failed.log = "one\ntwo\n"
    assert str(failed).endswith("missing.\nThe last lines of its log:\none\ntwo")


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
