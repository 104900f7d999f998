"""The chart's NetworkPolicies where they are enforced: who reaches whom, tried from inside the pods.

The local cluster has an engine for this and runs it for these tests only; kind enforces policies by itself.
"""

import asyncio
import subprocess

import pytest
import pytest_asyncio
from chart import SLOW_NODE_VALUES
from host_network import CLUSTER_PROGRAM

from ci.commands import run
from timeouts import TIMEOUT_SECONDS

# A connection that a policy forbids is dropped without an answer; some addresses have no route either.
PROBE = """
import socket
try:
    socket.create_connection(({address!r}, {port}), timeout=3).close()
    print("open")
except TimeoutError:
    print("silence")
except OSError as error:
    print(error)
"""
# A reset may come before `connect` has returned.
REQUEST = """
import socket
try:
    connection = socket.create_connection(({address!r}, {port}), timeout=20)
    connection.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    print(connection.recv(100)[:12].decode() or "closed")
except (BrokenPipeError, ConnectionResetError):
    print("closed")
"""
HTTPS = """
import ssl, urllib.error, urllib.request
context = ssl._create_unverified_context()
try:
    print(urllib.request.urlopen({url!r}, context=context, timeout=3).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    print("silence")
"""
# With the cloud's names of them in docs/operate.md; the last one stands for all link-local ones in IPv6.
METADATA = [
    *("169.254.169.254", "169.254.169.252", "169.254.170.2", "169.254.170.23", "168.63.129.16"),
    *("100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
    "fe80::a9fe:a9fe%eth0",
]
LISTENING_PORTS = """
for name in "tcp", "tcp6":
    for line in open(f"/proc/net/{name}").readlines()[1:]:
        address, _, state = line.split()[1:4]
        ip, port = address.split(":")
        if state == "0A" and int(ip, 16) == 0:
            print(int(port, 16))
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
        said = await self.try_to_reach(other.address, port)
        assert said in {"open", "silence"}, said
        return said == "open"

    async def try_to_reach(self, address, port):
        """Return `open`, `silence` or the reason why the connection failed."""
        return (await self._execute(PROBE.format(address=address, port=port))).strip()

    async def request(self, address, port):
        """Return the beginning of the answer to an HTTP request, or `closed`."""
        return (await self._execute(REQUEST.format(address=address, port=port))).strip()

    async def https_status(self, url):
        return (await self._execute(HTTPS.format(url=url))).strip()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def release(chart, metadata_server):
    """The release; `metadata_server` is one more address that no kernel may reach."""
    anywhere = {
        "cidr": "0.0.0.0/0",
        "except": ["169.254.169.254/32", f"{metadata_server.address}/32"],
    }
    policies = {
        "required": True,
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
    kernel_id = await gateway.start()
    async with gateway.channels(kernel_id) as channels:
        yield await kernel_pod(namespace, channels)
    # A test replaces the gateway that started it.
    async with release.gateway() as client:
        await client.delete(kernel_id)


async def kernel_pod(namespace, channels):
    async def execute(code):
        result = await channels.execute(code)
        assert not result.error, result.error
        return result.text

    [pod] = await namespace.objects("pods", channels.kernel_id)
    kernel = Pod(pod["status"]["podIP"], execute)
    kernel.node = pod["status"]["hostIP"]
    kernel.port = int((await execute(LISTENING_PORTS)).split()[0])
    return kernel


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service_address(release):
    return (await release.service_url()).removeprefix("http://").rpartition(":")[0]


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


@pytest.mark.attack(18)
async def test_a_kernel_is_no_client_of_the_gateway(kernel, gateway_pod, stranger, service_address):
    for address, port in ((service_address, 8888), (gateway_pod.address, 8888)):
        assert await kernel.request(address, port) == "closed"
        assert await stranger.request(address, port) == "HTTP/1.1 200"
    assert await kernel.request(gateway_pod.address, 8889) == "closed"
    assert await kernel.reaches(gateway_pod, 8877)


@pytest.mark.attack(18)
async def test_no_metadata_address_answers_a_kernel(kernel):
    """Here none exists: test_chart_network.py proves the rules, and this the same on a cloud."""
    said = [await kernel.try_to_reach(address, 80) for address in METADATA]
    assert "open" not in said


@pytest.mark.attack(18)
async def test_api_server_and_kubelet_give_a_kernel_nothing(kernel):
    """The kubelet of a pod's own node can always be reached, with any NetworkPolicy."""
    refused = {"401", "403", "silence"}
    assert await kernel.https_status("https://kubernetes.default.svc/api/v1/secrets") in refused
    for path in ("pods", "runningpods/", "configz"):
        assert await kernel.https_status(f"https://{kernel.node}:10250/{path}") in refused


async def test_helm_test_sees_that_policies_are_enforced(cluster, release, namespace):
    tested = await asyncio.to_thread(
        subprocess.run,
        [
            *(cluster.helm, f"--kubeconfig={cluster.kubeconfig}", f"--namespace={namespace.name}"),
            *("test", release.release, f"--timeout={TIMEOUT_SECONDS}s"),
        ],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # the test pod's output, with Helm 4
        text=True,
    )
    assert "network: NetworkPolicies are enforced" in tested.stdout


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


async def test_a_kernel_of_the_preset_for_the_internet(
    release, namespace, stranger, service_address
):
    """It reaches no pod; with a rule and the gateway's consent, it is a client of the gateway."""
    gateways = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "gateway"}}}
    rule = {"to": [gateways], "ports": [{"port": 8888, "protocol": "TCP"}]}
    policies = {"kernels": {"egress": "internetOnly", "extraEgress": [rule]}}
    await release.upgrade(
        {"gateway": {**SLOW_NODE_VALUES, "allowKernels": True}, "networkPolicy": policies}
    )
    async with release.gateway() as client, client.kernel() as channels:
        kernel = await kernel_pod(namespace, channels)
        assert not await kernel.reaches(stranger, PORT)
        assert await kernel.try_to_reach(METADATA[0], 80) != "open"
        assert await kernel.request(service_address, 8888) == "HTTP/1.1 200"
