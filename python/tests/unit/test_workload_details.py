"""A kernel's node, image and limits, as its users see them."""

from dataclasses import replace

import pytest
from kernel_specs import KERNEL

from gateway_provisioners.model.container.config import (
    KernelContainerSpec,
    build_container,
    build_service,
)
from gateway_provisioners.model.container.details import container_details, task_details
from gateway_provisioners.model.pod.details import pod_details
from gateway_provisioners.model.pod.manifest import build_pod
from gateway_provisioners.model.workload_details import WorkloadDetails

LIMITS = {"cpu": "1500m", "memory": "2Gi"}
CONTAINER = KernelContainerSpec(
    name="alice-1",
    instance="ours",
    kernel_id="a",
    kernel_name="python3",
    username="alice",
    image="acme/kernel:1",
    environment={},
    secret_environment={},
)


def test_of_a_pod_of_ours():
    pod = build_pod(replace(KERNEL, image="acme/kernel:1", resources={"limits": LIMITS}))
    assert pod_details(pod) == WorkloadDetails("", "acme/kernel:1", LIMITS)
    pod["spec"]["nodeName"] = "node-1"
    assert pod_details(pod) == WorkloadDetails("node-1", "acme/kernel:1", LIMITS)


def test_of_a_foreign_pod_with_limits_of_its_own():
    containers = [{"name": "a", "image": "a:1", "resources": {"limits": {"cpu": 2}}}, {"name": "b"}]
    resources = {"limits": {"memory": "1Gi", "cpu": "3"}}
    pod = {"spec": {"containers": containers, "resources": resources}}
    assert pod_details(pod) == WorkloadDetails("", "a:1", {"cpu": "2", "memory": "1Gi"})


def test_of_a_pod_that_is_not_reported_yet():
    assert pod_details({}) == WorkloadDetails()


@pytest.mark.parametrize(
    ("resources", "limits"),
    [
        ({}, {}),
        ({"limits": {"cpu": "2", "memory": "2Gi"}}, {"cpu": "2", "memory": str(2**31)}),
        ({"limits": {"cpu": "1500m"}, "requests": {"memory": "1Gi"}}, {"cpu": "1500m"}),
    ],
)
def test_of_a_container_and_a_task(resources, limits):
    spec = replace(CONTAINER, resources=resources)
    body = build_container(spec, {})
    inspected = {"Config": {"Image": body["Image"]}, "HostConfig": body["HostConfig"]}
    known = WorkloadDetails("a-host", "acme/kernel:1", limits)
    assert container_details(inspected, "a-host") == known
    service = build_service(spec, {}, secret_id="")
    task = {"NodeID": "n0de", "Spec": service["TaskTemplate"]}
    assert task_details(task) == replace(known, node="n0de")


def test_of_a_container_that_is_not_reported_yet():
    assert container_details({}, "a-host") == WorkloadDetails("a-host")
    assert task_details({}) == WorkloadDetails()
