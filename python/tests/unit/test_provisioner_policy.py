import pytest

from gateway_provisioners.errors import PolicyViolation
from gateway_provisioners.provisioners.authorization import check_user
from gateway_provisioners.provisioners.client_environment import client_environment

OWN = {"PATH": "/bin", "KG_AUTH_TOKEN": "t0ken", "HOME": "/root", "KERNEL_USERNAME": "alice"}


def test_nothing_of_the_gateways_own_environment_is_the_clients():
    assert client_environment(dict(OWN), own=OWN) == {"KERNEL_USERNAME": "alice"}
    assert client_environment(None, own=OWN) == {"KERNEL_USERNAME": "alice"}


def test_what_the_client_added_is():
    handed_over = {
        **OWN,
        "JPY_SESSION_NAME": "a.ipynb",
        "HOME": "/home/alice",
        "KERNEL_GATEWAY": "1",
    }
    assert client_environment(handed_over, own=OWN) == {
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
def test_users_who_may_not(username, authorized, unauthorized, rule):
    with pytest.raises(PolicyViolation, match=rule) as refusal:
        check_user(username, kernel_name="python", authorized=authorized, unauthorized=unauthorized)
    assert refusal.value.http_status == 403


@pytest.mark.parametrize(("authorized", "unauthorized"), [([], []), (["alice"], ["root"])])
def test_users_who_may(authorized, unauthorized):
    check_user("alice", kernel_name="python", authorized=authorized, unauthorized=unauthorized)
