"""Kernels that have ended, as the gateway remembers them."""

from gateway_provisioners.gateway.kernels.former_kernels import MOST_KERNELS, FormerKernels
from gateway_provisioners.model.ownership import Ownership

ANN = Ownership("ann")


def test_owner_and_cause_are_remembered():
    former = FormerKernels()
    former.remember("a", ANN, "It was idle.")
    assert former.owner_of("a") == ANN
    assert former.why("a") == "It was idle."


def test_other_ids_are_not_known():
    former = FormerKernels()
    assert former.owner_of("a") is None
    assert former.why("a") == ""


def test_oldest_are_forgotten_and_causes_are_cut():
    former = FormerKernels()
    for number in range(MOST_KERNELS + 1):
        former.remember(str(number), ANN, "x" * 10_000)
    assert former.owner_of("0") is None
    assert former.owner_of("1") == ANN
    assert len(former.why("1")) <= 1000
