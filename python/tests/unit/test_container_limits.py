"""The limits of a container and of a service, whatever its client asks for."""

from math import ceil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_provisioners.errors import InvalidRequest, PolicyViolation
from gateway_provisioners.model.container.config import (
    KernelContainerSpec,
    build_container,
    build_service,
)
from gateway_provisioners.model.request.client_policy import DEFAULT_GPU_RESOURCE, ClientPolicy
from gateway_provisioners.model.request.launch_request import parse_launch_request
from gateway_provisioners.model.request.quantity import amount
from gateway_provisioners.model.request.resources import merged

OWN = {"cpu": "1500m", "memory": "1Gi", DEFAULT_GPU_RESOURCE: "2"}
GPUS = st.integers(0, 16).map(str)
AMOUNTS = st.tuples(
    st.decimals(min_value=0, max_value=10**6, places=9).map("{:f}".format) | GPUS,
    st.sampled_from(["", "n", "u", "m", "k", "Mi", "Gi", "e-9", "E2"]),
).map("".join)
WISHES = st.fixed_dictionaries(
    {},
    optional={
        "KERNEL_CPUS": AMOUNTS,
        "KERNEL_CPUS_LIMIT": AMOUNTS,
        "KERNEL_MEMORY": AMOUNTS,
        "KERNEL_MEMORY_LIMIT": AMOUNTS,
        "KERNEL_GPUS": GPUS,
        "KERNEL_GPUS_LIMIT": GPUS,
    },
)
MAXIMA = st.fixed_dictionaries(
    {}, optional={"max_cpus": AMOUNTS, "max_memory": AMOUNTS, "max_gpus": GPUS}
)


def a_spec(resources, **bounds):
    return KernelContainerSpec(
        name="ada-1",
        instance="gateway",
        kernel_id="1",
        kernel_name="python",
        username="ada",
        image="acme/data-sci-py:2.0",
        environment={},
        secret_environment={},
        resources=resources,
        **bounds,
    )


@pytest.mark.attack(8)
@given(WISHES, MAXIMA)
@example({"KERNEL_MEMORY_LIMIT": "0.5"}, {})
@example({"KERNEL_CPUS_LIMIT": "0.1n"}, {"max_cpus": "1"})
@example({"KERNEL_MEMORY_LIMIT": "6291456.1", "KERNEL_CPUS_LIMIT": "10.1m"}, {})
@example({"KERNEL_MEMORY": "0.5", "KERNEL_CPUS": "0.1n"}, {})
@example({"KERNEL_MEMORY_LIMIT": "2Gi", "KERNEL_CPUS_LIMIT": "3"}, {"max_memory": "2Gi"})
def test_no_wish_of_a_client_lifts_a_limit(wishes, maxima):
    try:
        request = parse_launch_request(
            wishes, admin_settings={}, policy=ClientPolicy(**maxima), kernel_limits=OWN
        )
    except (InvalidRequest, PolicyViolation):
        return
    spec = a_spec(merged({"limits": OWN}, request.resources))
    host = build_container(spec, {})["HostConfig"]
    service = build_service(spec, {}, secret_id="abc")["TaskTemplate"]["Resources"]
    assert host["NanoCpus"] == service["Limits"]["NanoCPUs"]
    assert host["Memory"] == host["MemorySwap"] == service["Limits"]["MemoryBytes"]

    def most(kind, resource, setting):
        """The maximum of what the client asked for; else what the kernelspec has."""
        asked = resource in request.resources.get(kind, {})
        return amount((asked and maxima.get(setting)) or OWN[resource])

    # 0 would be no limit. Fractions of a unit are rounded up, those of a maximum too.
    assert 0 < host["NanoCpus"] <= ceil(most("limits", "cpu", "max_cpus") * 10**9)
    assert 0 < host["Memory"] <= ceil(most("limits", "memory", "max_memory"))
    reserved = service["Reservations"]
    assert 0 <= reserved.get("NanoCPUs", 0) <= ceil(most("requests", "cpu", "max_cpus") * 10**9)
    assert 0 <= reserved.get("MemoryBytes", 0) <= ceil(most("requests", "memory", "max_memory"))
    assert host.get("MemoryReservation", 0) == reserved.get("MemoryBytes", 0)
    assert 2 <= host.get("CpuShares", 2) <= 2**18
    # Without a request there are no GPUs; a negative count would mean all of them.
    counts = [each["Count"] for each in host.get("DeviceRequests", [])]
    assert counts == [
        each["DiscreteResourceSpec"]["Value"] for each in reserved.get("GenericResources", [])
    ]
    assert all(0 < count <= most("limits", DEFAULT_GPU_RESOURCE, "max_gpus") for count in counts)


def test_fractions_of_a_unit_in_a_kernelspec_are_rounded_up():
    spec = a_spec({"limits": {"cpu": "0.1n", "memory": "0.5", DEFAULT_GPU_RESOURCE: "0.1"}})
    host = build_container(spec, {})["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["DeviceRequests"][0]["Count"]) == (1, 1, 1)
    limits = build_service(spec, {}, secret_id="abc")["TaskTemplate"]["Resources"]["Limits"]
    assert (limits["NanoCPUs"], limits["MemoryBytes"]) == (1, 1)


@pytest.mark.parametrize("driver", ["journald", "none", "fluentd"])
def test_log_drivers_without_files_get_no_size(driver):
    """They would refuse it."""
    assert "LogConfig" not in build_container(a_spec({}), {}, log_driver=driver)["HostConfig"]
    service = build_service(a_spec({}), {}, secret_id="abc", log_driver=driver)
    assert "LogDriver" not in service["TaskTemplate"]


def test_bounds_of_processes_and_logs_can_be_set_and_taken_away():
    spec = a_spec({}, pids_limit=100, log_max_bytes=5000, log_max_files=1)
    host = build_container(spec, {}, log_driver="local")["HostConfig"]
    assert host["PidsLimit"] == 100
    assert host["LogConfig"] == {"Type": "local", "Config": {"max-size": "5000", "max-file": "1"}}
    host = build_container(a_spec({}, pids_limit=0, log_max_bytes=0), {})["HostConfig"]
    assert not {"PidsLimit", "LogConfig"} & host.keys()


def test_a_log_driver_of_the_administrators_patch_keeps_its_own_options():
    own = {"Type": "journald", "Name": "journald"}
    patch = {"HostConfig": {"LogConfig": own}, "TaskTemplate": {"LogDriver": own}}
    assert build_container(a_spec({}, patch=patch), {})["HostConfig"]["LogConfig"] == own
    service = build_service(a_spec({}, patch=patch), {}, secret_id="abc")
    assert service["TaskTemplate"]["LogDriver"] == own
