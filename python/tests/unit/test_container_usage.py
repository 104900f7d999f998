"""The part of quotas that a container or a Swarm task takes, and the count of one engine's kernels."""

from dataclasses import replace
from fractions import Fraction

import pytest

from gateway_provisioners.dockerd.containers import ContainerKernels
from gateway_provisioners.dockerd.engine import DockerEngine
from gateway_provisioners.dockerd.records import Records
from gateway_provisioners.errors import EngineError, LaunchFailed, TooManyKernels, TooManyResources
from gateway_provisioners.model.container.config import (
    KernelContainerSpec,
    build_container,
    build_service,
)
from gateway_provisioners.model.container.usage import container_usage, task_usage
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.quota import CPUS, GPUS, MEMORY, KernelQuota, KernelUsage
from unit.launches import new_progress

GI = 2**30
OWNERSHIP = Ownership(owner="alice", groups=("team",))
SPEC = KernelContainerSpec(
    name="alice-1",
    instance="ours",
    kernel_id="a",
    kernel_name="python3",
    username="alice",
    image="image",
    environment={},
    secret_environment={},
    ownership=OWNERSHIP,
)
LIMITS = {"cpu": "1500m", "memory": "2Gi", "nvidia.com/gpu": "2"}


def of_container(resources):
    body = build_container(replace(SPEC, resources=resources), {})
    inspected = {"Config": {"Labels": body["Labels"]}, "HostConfig": body["HostConfig"]}
    assert container_usage(inspected, OWNERSHIP) == container_usage(body, OWNERSHIP)
    return container_usage(body, OWNERSHIP)


def of_task(resources):
    body = build_service(replace(SPEC, resources=resources), {}, secret_id="")
    return task_usage(body["TaskTemplate"], OWNERSHIP)


@pytest.mark.parametrize("read", [of_container, of_task])
@pytest.mark.parametrize(
    ("resources", "amounts"),
    [
        (
            {"limits": LIMITS, "requests": {"cpu": "1", "memory": "1Gi"}},
            {CPUS: Fraction(3, 2), MEMORY: 2 * GI, GPUS: 2},
        ),
        ({"requests": {"cpu": "500m", "memory": "1Gi"}}, {CPUS: Fraction(1, 2), MEMORY: GI}),
        ({}, {}),
    ],
)
def test_usage_is_read_from_what_the_engine_gets(read, resources, amounts):
    assert read(resources) == KernelUsage(
        "a", "python3", "alice", "alice", frozenset({"team"}), amounts
    )


@pytest.mark.parametrize(
    ("host", "amounts"),
    [
        ({"CpuQuota": 250_000, "CpuPeriod": 50_000}, {CPUS: 5}),
        ({"CpuQuota": 150_000}, {CPUS: Fraction(3, 2)}),
        ({"CpuQuota": -1, "NanoCpus": 0, "Memory": 0, "DeviceRequests": None}, {}),
        ({"DeviceRequests": [{"DeviceIDs": ["0", "2"], "Count": 0}]}, {GPUS: 2}),
    ],
)
def test_usage_is_read_in_other_forms_of_an_engine(host, amounts):
    assert (
        container_usage({"Config": {"Labels": {}}, "HostConfig": host}, OWNERSHIP).amounts
        == amounts
    )


class Api:
    """An engine that has every image, and refuses containers for as long as `broken` is set."""

    is_podman = False
    log_driver = ""

    def __init__(self):
        self.broken = False
        self.info = {}

    async def image(self, _name):
        return {"Id": "1"}

    async def create_container(self, _name, _config):
        if self.broken:
            raise EngineError("Out of disk.", status=500)

    async def put_archive(self, _name, _content):
        pass

    async def start_container(self, _name):
        pass

    async def stop_container(self, _name, *, grace_seconds):
        pass

    async def remove_container(self, _name):
        pass

    async def inspect_container(self, _name):
        return None


def spec(kernel_id, attempt=1, **changes):
    return replace(SPEC, kernel_id=kernel_id, name=f"{kernel_id}-{attempt}", **changes)


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def engine(api):
    def make(quota):
        records = Records(None, instance="ours")
        return DockerEngine(api, instance="ours", records=records, keep=False, quota=quota)

    return make


async def test_both_kinds_of_kernels_of_an_engine_count_together(engine):
    docker = engine(KernelQuota(most=2))
    await docker.containers.create(spec("a"), new_progress())
    docker.services.admission.admit("b-1", replace(of_task({}), kernel_id="b"))
    with pytest.raises(TooManyKernels):
        await docker.containers.create(spec("c"), new_progress())
    await docker.containers.stop()


async def test_a_kernel_counts_until_it_is_ended(engine):
    kernels = engine(KernelQuota(most_per_user=1)).containers
    launched = await kernels.create(spec("a"), new_progress())
    with pytest.raises(TooManyKernels, match=r"'python3' \(a\)"):
        await kernels.create(spec("b"), new_progress())
    await launched.remove(grace_seconds=0)
    await kernels.create(spec("b"), new_progress())
    await kernels.stop()


async def test_a_kernel_keeps_its_place_while_it_is_restarted(engine):
    kernels = engine(KernelQuota(most_per_user=1)).containers
    first = await kernels.create(spec("a"), new_progress())
    await first.stop()
    with pytest.raises(TooManyKernels):
        await kernels.create(spec("b"), new_progress())
    second = await kernels.create(spec("a", 2), new_progress())
    await first.remove_replaced()
    with pytest.raises(TooManyKernels):
        await kernels.create(spec("b"), new_progress())
    second.remove_soon()
    await kernels.create(spec("b"), new_progress())
    await kernels.stop()


async def test_a_kernel_that_cannot_be_made_does_not_count(engine, api):
    kernels = engine(KernelQuota(most_per_user=1)).containers
    api.broken = True
    with pytest.raises(LaunchFailed):
        await kernels.create(spec("a"), new_progress())
    api.broken = False
    await kernels.create(spec("b"), new_progress())
    await kernels.stop()


async def test_an_adopted_kernel_counts(engine):
    kernels = engine(KernelQuota(each_user={CPUS: Fraction(2)})).containers
    limited = spec("a", resources={"limits": LIMITS})
    body = build_container(limited, {})
    kernels._learn("a-1", {"Config": {"Labels": body["Labels"]}, "HostConfig": body["HostConfig"]})
    await kernels.adopt("a-1")
    with pytest.raises(TooManyResources, match=r"1 kernel uses 1.5 CPUs"):
        await kernels.create(spec("b", resources={"limits": {"cpu": "1"}}), new_progress())


def test_the_engine_gives_its_kernels_one_count(engine):
    docker = engine(KernelQuota())
    assert isinstance(docker.containers, ContainerKernels)
    assert docker.containers.admission is docker.services.admission
