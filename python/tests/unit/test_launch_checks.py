"""The checks before a launch: users, and the variables that reach a kernel."""

import pytest

from gateway_provisioners.errors import PolicyViolation
from gateway_provisioners.provisioners.authorization import check_user
from gateway_provisioners.provisioners.client_environment import client_environment

OWN = {"PATH": "/bin", "KG_AUTH_TOKEN": "t0ken", "HOME": "/root", "KERNEL_USERNAME": "alice"}


def test_the_gateways_own_environment_is_not_passed_on():
    assert client_environment(dict(OWN), own=OWN) == {"KERNEL_USERNAME": "alice"}
    assert client_environment(None, own=OWN) == {"KERNEL_USERNAME": "alice"}


def test_the_variables_that_the_client_added_are_kept():
    passed = {
        **OWN,
        "JPY_SESSION_NAME": "a.ipynb",
        "HOME": "/home/alice",
        "KERNEL_GATEWAY": "1",
    }
    assert client_environment(passed, own=OWN) == {
        "KERNEL_USERNAME": "alice",
        "JPY_SESSION_NAME": "a.ipynb",
        "HOME": "/home/alice",
    }


@pytest.mark.parametrize(
    ("username", "authorized", "unauthorized", "rule"),
    [
        ("root", [], ["root"], "unauthorized_users"),
        ("bob", ["alice"], [], "authorized_users"),
        ("alice", ["alice"], ["alice"], "unauthorized_users"),
    ],
)
def test_unauthorized_users_are_refused(username, authorized, unauthorized, rule):
    with pytest.raises(PolicyViolation, match=rule) as refusal:
        check_user(username, kernel_name="python", authorized=authorized, unauthorized=unauthorized)
    assert refusal.value.http_status == 403


@pytest.mark.parametrize(("authorized", "unauthorized"), [([], []), (["alice"], ["root"])])
def test_authorized_users_may_start_the_kernel(authorized, unauthorized):
    check_user("alice", kernel_name="python", authorized=authorized, unauthorized=unauthorized)
