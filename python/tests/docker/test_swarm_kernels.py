"""Kernels in Swarm services: features that only they have."""

import pytest

from timeouts import within_timeout


@pytest.fixture
def host(hosts):
    return hosts("docker-swarm-provisioner")


async def test_resources_and_constraints(host):
    async with host.kernel(
        resources={"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"memory": "64Mi"}},
        constraints=["node.role==manager"],
        volumes=["/usr/share:/shared:ro"],
    ) as kernel:
        [service] = [each for each in host.services() if "TaskTemplate" in each["Spec"]]
        template = service["Spec"]["TaskTemplate"]
        assert template["Placement"]["Constraints"] == ["node.role==manager"]
        assert template["Resources"]["Reservations"] == {"MemoryBytes": 64 * 2**20}
        [container] = host.containers()
        assert container["HostConfig"]["NanoCpus"] == 10**9
        assert container["HostConfig"]["Memory"] == 512 * 2**20
        assert (await kernel.run("import os; print(len(os.listdir('/shared')) > 0)"))[1] == "True\n"


async def test_no_node_can_take_it(host):
    refusal = await host.refusal(constraints=["node.labels.nowhere==true"])
    assert "No node of the swarm can run the kernel" in refusal
    assert "scheduling constraints" in refusal


async def test_podman_has_no_swarm(hosts):
    host = hosts("docker-provisioner", "podman")
    host.provisioner = "docker-swarm-provisioner"
    assert "it is podman. Use a kernelspec of the docker-provisioner" in await host.refusal()
    assert host.engine.cli("secret", "ls", "--quiet") == ""


async def test_a_kernel_whose_service_was_removed_has_ended(host, engine):
    async with host.kernel() as kernel:
        workload = kernel.manager.provisioner._workload
        engine.cli("service", "rm", workload.name)
        await within_timeout(workload.wait_gone())
        assert not await kernel.manager.is_alive()
