"""The part of quotas that a kernel's pod takes."""

from dataclasses import replace
from fractions import Fraction

import pytest
from kernel_specs import KERNEL

from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.pod.kernel_state import annotations_patch
from gateway_provisioners.model.pod.manifest import build_pod
from gateway_provisioners.model.pod.usage import counted_usage, usage
from gateway_provisioners.model.quota import CPUS, GPUS, MEMORY, KernelUsage

GI = 2**30
SPEC = replace(
    KERNEL,
    name="alice-1",
    resources={"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "500m"}},
    ownership=Ownership(owner="alice", groups=("team", "staff")),
)


def container(name="kernel", *, limits=None, requests=None, **fields):
    resources = {"limits": limits, "requests": requests}
    return {"name": name, "resources": resources, **fields}


def amounts(*containers, annotations=None, **spec):
    pod = {
        "metadata": {"annotations": annotations},
        "spec": {"containers": list(containers), **spec},
    }
    return {name: str(amount) for name, amount in usage(pod, "a").amounts.items()}


def test_a_pod_of_ours():
    assert usage(build_pod(SPEC), "a") == KernelUsage(
        kernel_id="a",
        kernel_name="python3",
        username="alice",
        owner="alice",
        groups=frozenset({"team", "staff"}),
        amounts={CPUS: Fraction(2), MEMORY: Fraction(4 * GI), GPUS: Fraction(0)},
    )


def test_a_pod_of_an_earlier_release_has_no_owner():
    pod = build_pod(SPEC)
    for name in list(pod["metadata"]["annotations"]):
        if "owner" in name or "shared" in name or "gpu" in name:
            del pod["metadata"]["annotations"][name]
    found = usage(pod, "a")
    assert (found.username, found.owner, found.groups) == ("alice", "", frozenset())


def test_gpus_are_of_the_kernels_own_kind():
    limits = {"nvidia.com/gpu": "1", "amd.com/gpu": "2"}
    spec = replace(SPEC, resources={"limits": limits}, gpu_resource="amd.com/gpu")
    assert usage(build_pod(spec), "a").amounts[GPUS] == 2
    assert amounts(container(limits=limits))[GPUS] == "1"


@pytest.mark.parametrize(
    ("containers", "cpus"),
    [
        pytest.param([container(limits={"cpu": "2"}, requests={"cpu": "1"})], "2", id="the limit"),
        pytest.param([container(requests={"cpu": "1"})], "1", id="or else the request"),
        pytest.param([container(), container(limits={"cpu": "1"})], None, id="neither in one"),
        pytest.param([], None, id="no containers"),
        pytest.param(
            [container(limits={"cpu": "1500m"}), container(requests={"cpu": "500m"})],
            "2",
            id="a sum",
        ),
        # The request of a client who means to have no limit.
        pytest.param([container(requests={"cpu": "0"})], None, id="a request of nothing"),
        pytest.param([container(limits={"cpu": "0"}, requests={"cpu": "1"})], "1", id="limit 0"),
        pytest.param([container(limits={"cpu": "-1"})], None, id="a negative limit"),
    ],
)
def test_an_amount_is_the_sum_over_the_containers(containers, cpus):
    assert amounts(*containers).get(CPUS) == cpus


def test_sidecars_count_and_other_init_containers_do_not():
    found = amounts(
        container(limits={"cpu": "2"}),
        initContainers=[
            container(limits={"cpu": "1"}, restartPolicy="Always"),
            container(limits={"cpu": "8"}),
        ],
    )
    assert found[CPUS] == "3"


def test_the_pods_own_resources_come_before_those_of_its_containers():
    found = amounts(
        container(limits={"memory": "1Gi"}),
        container(),
        resources={"limits": {"cpu": "3", "memory": "2Gi"}},
    )
    assert (found[CPUS], found[MEMORY]) == ("3", str(2 * GI))


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({}, True),
        ({"instance": "theirs"}, False),
        ({"kernel_id": "!"}, False),
    ],
)
def test_pods_of_kernels_of_the_instance_count(change, counts):
    assert bool(counted_usage(build_pod(replace(SPEC, **change)), "ours")) is counts


def test_a_pod_that_is_being_ended_does_not_count():
    pod = build_pod(SPEC)
    patch = annotations_patch({"gateway-provisioners/state": "ending"})
    pod["metadata"]["annotations"].update(patch["metadata"]["annotations"])
    assert counted_usage(pod, "ours") is None
