"""OpenShift's ids: a namespace has a range, pods get its first one, and none may ask for another."""

import pytest
import pytest_asyncio
from host_network import local_cluster
from security_context_constraints import FIRST_ID, IDS, restricted_v2

from ci import images
from ci.gateway_client import Refused
from message_words import unwrapped

IDS_OF_PROCESS = "import os; print(os.getuid(), os.getgid(), sorted(os.getgroups()))"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chart(new_chart, cluster, kubectl, namespace, tmp_path_factory):
    """A release in a namespace where the API server asks the SCC of each pod."""
    local_cluster(cluster)  # whose API server can reach this host
    folder = tmp_path_factory.mktemp("scc")
    async with restricted_v2(kubectl, namespace.name, folder):
        chart = new_chart(namespace)
        usual = {"image": images.KERNEL_PY.reference, "runAsUser": 1000, "runAsGroup": 100}
        await chart.install(
            {
                "openshift": True,
                "kernels": {"usual": usual},
                "imagePuller": {"hook": {"enabled": True}, "continuous": {"enabled": True}},
            }
        )
        yield chart
        await chart.uninstall()


async def test_kernel_runs_with_the_id_that_the_cluster_assigned(gateway, namespace):
    kernel = await gateway.start()
    async with gateway.channels(kernel) as channels:
        result = await channels.execute(IDS_OF_PROCESS)
        assert result.text.strip() == f"{FIRST_ID} 0 [0, {FIRST_ID}]"
        result = await channels.execute("import pathlib; print(pathlib.Path.home().exists())")
        assert result.status == "ok"
    await gateway.request("POST", f"/api/kernels/{kernel}/restart")
    async with gateway.channels(kernel) as channels:
        result = await channels.execute("import os; print(os.getuid())")
        assert result.text.strip() == str(FIRST_ID)
    [pod] = await namespace.objects("pods", kernel)
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    await gateway.request("DELETE", f"/api/kernels/{kernel}")


async def test_every_pod_of_the_release_has_an_assigned_id(chart, namespace):
    pods = await namespace.kubectl.get("pods", f"--namespace={namespace.name}")
    assert len(pods["items"]) >= 2  # the gateway, an image puller
    assert {pod["spec"]["securityContext"]["runAsUser"] for pod in pods["items"]} <= set(IDS)
    assert await chart.test() == "Succeeded"


async def test_kernel_that_asks_for_another_id_is_refused_with_the_reason(gateway):
    with pytest.raises(Refused) as refusal:
        await gateway.start("usual")
    assert "runAsUser: Invalid value: 1000" in unwrapped(refusal.value.message)
