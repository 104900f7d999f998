"""How many kernels there may be."""

import pytest

from gateway_provisioners.model.pod.admission import Limits


def a_pod(kernel_id, username="alice", state="running", instance="ours"):
    return {
        "metadata": {
            "name": kernel_id,
            "labels": {"kernel_id": kernel_id, "app.kubernetes.io/instance": instance},
            "annotations": {
                "gateway-provisioners/username": username,
                "gateway-provisioners/state": state,
            },
        }
    }


def refusal(limits, *pods, username="alice"):
    return limits.refusal(pods, instance="ours", kernel_id="own", username=username)


def test_without_limits_there_is_always_room():
    assert not Limits()
    assert refusal(Limits(), *(a_pod(str(number)) for number in range(100))) == ""


def test_all_users_together():
    limits = Limits(most=2)
    assert refusal(limits, a_pod("a")) == ""
    assert "2 kernels at most" in refusal(limits, a_pod("a"), a_pod("b", "bob"))


def test_each_user():
    limits = Limits(most_per_user=1)
    assert "alice has that many" in refusal(limits, a_pod("a"))
    assert refusal(limits, a_pod("a"), username="bob") == ""


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(a_pod("own"), id="the kernel itself, which is restarted"),
        pytest.param(a_pod("a", state="ending"), id="one that ends"),
        pytest.param(a_pod("a", instance="theirs"), id="one of another release"),
    ],
)
def test_what_does_not_count(pod):
    assert refusal(Limits(most=1, most_per_user=1), pod) == ""


def test_both_pods_of_a_restart_count_once():
    assert refusal(Limits(most=2), a_pod("a"), a_pod("a")) == ""
