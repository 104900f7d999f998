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


@pytest.mark.parametrize(
    ("username", "groups", "users", "unauthorized", "refused_by"),
    [
        ("alice", ["team"], [], [], ""),
        ("alice", ["other", "team"], ["bob"], [], ""),
        ("bob", [], ["bob"], [], ""),
        ("bob", [], [], [], "authorized_groups"),
        ("bob", ["teams"], ["alice"], [], "authorized_groups"),
        ("team", [], [], [], "authorized_groups"),
        ("alice", ["team"], ["alice"], ["alice"], "unauthorized_users"),
    ],
)
def test_groups_may_start_a_kernel_as_well(username, groups, users, unauthorized, refused_by):
    def check():
        check_user(
            *(username, groups),
            kernel_name="python",
            authorized=users,
            authorized_groups=["team"],
            unauthorized=unauthorized,
        )

    if refused_by:
        with pytest.raises(PolicyViolation, match=refused_by):
            check()
    else:
        check()


@pytest.mark.parametrize(("authorized", "unauthorized"), [([], []), (["alice"], ["root"])])
def test_authorized_users_may_start_the_kernel(authorized, unauthorized):
    check_user("alice", kernel_name="python", authorized=authorized, unauthorized=unauthorized)
