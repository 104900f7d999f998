"""The chart's NetworkPolicies where they are enforced: who reaches whom, tried from inside the pods.

The local cluster has an engine for this and runs it for these tests only; kind enforces policies by itself.
"""

import asyncio

import pytest
import pytest_asyncio
from chart import SLOW_NODE_VALUES
from host_network import CLUSTER_PROGRAM

from ci.commands import run
from timeouts import TIMEOUT_SECONDS

# Whatever is not let through is dropped without an answer.
PROBE = """
import socket
try:
    socket.create_connection(({address!r}, {port}), timeout=3).close()
    print("open")
except TimeoutError:
    print("silence")
"""
LISTENING_PORTS = """
for line in open("/proc/net/tcp").readlines()[1:]:
    address, _, state = line.split()[1:4]
    if state == "0A" and address.startswith("00000000:"):
        print(int(address[9:], 16))
"""
PORT = 8000  # of the pods below


@pytest.fixture(scope="module", autouse=True)
def enforced(cluster):
    """NetworkPolicies are enforced meanwhile, for all releases."""
    if cluster.choice != "local":
        yield
        return
    run(CLUSTER_PROGRAM, "start", "kube-network-policies")
    try:
        yield
    finally:
        run(CLUSTER_PROGRAM, "stop", "kube-network-policies")


class Pod:
    """A pod of which `execute` runs Python code in it and returns what that prints."""

    def __init__(self, address, execute):
        self.address = address
        self._execute = execute

    async def reaches(self, other, port):
        said = await self._execute(PROBE.format(address=other.address, port=port))
        assert said.strip() in {"open", "silence"}, said
        return said.strip() == "open"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def release(chart, metadata_server):
    """The release; `metadata_server` is one more address that no kernel may reach."""
    anywhere = {
        "cidr": "0.0.0.0/0",
        "except": ["169.254.169.254/32", f"{metadata_server.address}/32"],
    }
    policies = {
        "kernels": {"egress": [{"to": [{"ipBlock": anywhere}]}]},
        # Kernels, in the place of Prometheus.
        "gateway": {"metricsFrom": [{"podSelector": {"matchLabels": {"component": "kernel"}}}]},
    }
    # After other tests that break the cluster.
    await chart.upgrade({"gateway": SLOW_NODE_VALUES, "networkPolicy": policies})
    return chart


async def pod_running_python(namespace, name, image):
    container = {
        "name": "python",
        "image": image,
        "command": ["python3", "-m", "http.server", str(PORT)],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    metadata = {"name": name, "namespace": namespace.name}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    await namespace.kubectl.apply(pod)
    await namespace.run(
        "wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={TIMEOUT_SECONDS}s"
    )
    return await pod_of(namespace, name)


async def pod_of(namespace, name):
    async def execute(code):
        return await namespace.run("exec", name, "--", "python3", "-c", code)

    address = await namespace.run("get", "pod", name, "--output=jsonpath={.status.podIP}")
    return Pod(address, execute)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def metadata_server(namespace, chart):
    return await pod_running_python(namespace, "metadata-server", chart.image)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stranger(namespace, chart):
    """A pod of another workload in the namespace of the release."""
    return await pod_running_python(namespace, "stranger", chart.image)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kernel(release, gateway, namespace):
    async with gateway.kernel() as channels:
        yield await kernel_pod(namespace, channels)


async def kernel_pod(namespace, channels):
    async def execute(code):
        return (await channels.execute(code)).text

    [pod] = await namespace.objects("pods", channels.kernel_id)
    kernel = Pod(pod["status"]["podIP"], execute)
    kernel.port = int((await execute(LISTENING_PORTS)).split()[0])
    return kernel


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway_pod(release, namespace):
    [pod] = await release.gateway_pods()
    return await pod_of(namespace, pod["metadata"]["name"])


@pytest.mark.attack(18)
async def test_only_the_gateway_reaches_a_kernel(
    kernel, gateway, gateway_pod, stranger, release, namespace
):
    assert await gateway_pod.reaches(kernel, kernel.port)
    async with gateway.kernel() as channels:
        neighbour = await kernel_pod(namespace, channels)
        reached = await asyncio.gather(
            stranger.reaches(kernel, kernel.port),
            neighbour.reaches(kernel, kernel.port),
            kernel.reaches(neighbour, neighbour.port),
        )
    assert reached == [False, False, False]


async def test_only_kernels_report_to_the_gateway(kernel, gateway_pod, stranger):
    assert await kernel.reaches(gateway_pod, 8877)
    assert not await stranger.reaches(gateway_pod, 8877)


async def test_every_pod_reaches_the_gateway(gateway_pod, stranger):
    assert await stranger.reaches(gateway_pod, 8888)


async def test_only_chosen_peers_reach_the_port_without_a_token(kernel, gateway_pod, stranger):
    assert await kernel.reaches(gateway_pod, 8889)
    assert not await stranger.reaches(gateway_pod, 8889)


@pytest.mark.attack(18)
async def test_a_kernel_reaches_all_but_what_is_excepted(kernel, stranger, metadata_server):
    assert await kernel.reaches(stranger, PORT)
    assert await stranger.reaches(metadata_server, PORT)
    assert not await kernel.reaches(metadata_server, PORT)


async def test_a_kernel_resolves_names(kernel):
    code = 'import socket; print(socket.gethostbyname("kubernetes.default.svc.cluster.local"))'
    assert (await kernel._execute(code)).count(".") == 3
