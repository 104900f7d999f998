"""The quota of kernels."""

import pytest

from gateway_provisioners.model.quota import KernelQuota


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


def refusal(quota, *pods, username="alice"):
    return str(quota.refusal(pods, instance="ours", kernel_id="own", username=username) or "")


def test_without_quota_there_is_always_room():
    assert not KernelQuota()
    assert refusal(KernelQuota(), *(a_pod(str(number)) for number in range(100))) == ""


def test_all_users_together():
    quota = KernelQuota(most=2)
    assert refusal(quota, a_pod("a")) == ""
    assert "2 kernels at most" in refusal(quota, a_pod("a"), a_pod("b", "bob"))


def test_each_user():
    quota = KernelQuota(most_per_user=1)
    assert "'alice' has that many" in refusal(quota, a_pod("a"))
    assert refusal(quota, a_pod("a"), username="bob") == ""


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(a_pod("own"), id="the kernel itself, which is restarted"),
        pytest.param(a_pod("a", state="ending"), id="one that ends"),
        pytest.param(a_pod("a", instance="theirs"), id="one of another release"),
    ],
)
def test_pods_that_do_not_count(pod):
    assert refusal(KernelQuota(most=1, most_per_user=1), pod) == ""


def test_both_pods_of_a_restart_count_once():
    assert refusal(KernelQuota(most=2), a_pod("a"), a_pod("a")) == ""
