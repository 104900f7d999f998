"""A release from installation to removal, by a user with rights in one namespace only."""

import asyncio
import base64
import contextlib
import json

import pytest
import pytest_asyncio
import yaml
from chart import CHART

from ci.gateway_client import Gateway
from timeouts import TIMEOUT_SECONDS, within_timeout

# Of cert-manager, the Prometheus Operator and the Gateway API.
ELSEWHERE = {"cert-manager.io", "monitoring.coreos.com", "gateway.networking.k8s.io"}
ADD_A_KERNEL = ("--set", "kernels.custom.image=acme/data-sci-py:2.0")
LONGEST_NAME = "l" + "o" * 50 + "ng"  # that Helm takes
KEEP_VALUES = "--reset-then-reuse-values"


class Helm:
    """The helm program as users type it, on behalf of the namespace's administrator."""

    def __init__(self, executable, namespace):
        self._executable = str(executable)
        self._namespace = namespace

    async def __call__(self, *arguments):
        process = await asyncio.create_subprocess_exec(
            self._executable,
            *arguments,
            f"--namespace={self._namespace.name}",
            f"--kubeconfig={self._namespace.kubectl.kubeconfig}",
            f"--kube-as-user=system:serviceaccount:{self._namespace.name}:administrator",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, f"helm {' '.join(arguments)}: {output.decode()}"
        return output.decode()

    async def install(self, release, *arguments):
        await self(
            "install", release, str(CHART), "--wait", f"--timeout={TIMEOUT_SECONDS}s", *arguments
        )

    async def upgrade(self, release, *arguments):
        wait = ("--wait", f"--timeout={TIMEOUT_SECONDS}s")
        await self("upgrade", release, str(CHART), KEEP_VALUES, *wait, *arguments)


@pytest.fixture(scope="module", params=["helm 4", "helm 3"])
def helm(request, cluster, administrator):
    # A cluster of the user's own comes with the one Helm that they have.
    older = cluster.helm3 or cluster.helm
    return Helm(cluster.helm if request.param == "helm 4" else older, administrator)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def administrator(namespace):
    """The namespace, with an account that may do in it what Kubernetes' own role `admin` may."""
    await namespace.run("create", "serviceaccount", "administrator")
    account = f"{namespace.name}:administrator"
    await namespace.run(
        "create",
        "rolebinding",
        "administrator",
        "--clusterrole=admin",
        f"--serviceaccount={account}",
    )
    return namespace


def fullname(release):
    """The stem of a release's names; a Service's has at most 63 characters."""
    return f"{release}-gateway-provisioners"[:63].rstrip("-")


async def token(namespace, release):
    name = f"{fullname(release)}-token"
    secret = json.loads(await namespace.run("get", "secret", name, "-o", "json"))
    return base64.b64decode(secret["data"]["token"]).decode()


@contextlib.asynccontextmanager
async def gateway(namespace, release):
    target = f"pod/{min((await gateway_pods(namespace, release)).values())}"
    async with (
        namespace.kubectl.port_forward(namespace.name, target, 8888) as port,
        Gateway(f"http://127.0.0.1:{port}", await token(namespace, release)) as client,
    ):
        yield client


async def gateway_pods(namespace, release):
    """The names of the gateway's pods that are not about to end, by their unique ids."""
    # Helm 3 does not wait until the old ones begin to end.
    deployment = f"deployment/{fullname(release)}"
    await namespace.run("rollout", "status", deployment, f"--timeout={TIMEOUT_SECONDS}s")
    labels = f"app.kubernetes.io/instance={release},app.kubernetes.io/component=gateway"
    pods = json.loads(await namespace.run("get", "pods", "-l", labels, "-o", "json"))
    return {
        pod["metadata"]["uid"]: pod["metadata"]["name"]
        for pod in pods["items"]
        if "deletionTimestamp" not in pod["metadata"]
    }


async def everything(namespace):
    """Kind and name of all that a release or its kernels could leave behind."""
    workload = "pods,services,deployments,replicasets"
    kinds = (
        f"{workload},configmaps,secrets,leases,serviceaccounts,roles,rolebindings,networkpolicies"
    )
    return set((await namespace.run("get", kinds, "-o", "name")).split())


async def result_of(client, kernel_id, code):
    async with client.channels(kernel_id) as channels:
        result = await channels.execute(code)
        assert result.status == "ok"
        return result.text.strip()


async def wait_listed(client, name):
    """Return when the gateway offers kernel `name`; the caller's timeout applies."""
    while True:
        if name in (await client.request("GET", "/api/kernelspecs"))["kernelspecs"]:
            return
        await asyncio.sleep(0.1)


async def test_release_from_installation_to_removal(helm, administrator):
    namespace = administrator
    before = await everything(namespace)
    await helm.install("first")
    said = await helm("test", "first", f"--timeout={TIMEOUT_SECONDS}s")
    assert "python3: 1 + 1 gives 2" in said
    assert (
        "network: NetworkPolicies are" in said
    )  # enforced, or not: this release does not require it
    first_token = await token(namespace, "first")
    first_pods = await gateway_pods(namespace, "first")
    async with gateway(namespace, "first") as client:
        kernel = await client.start()
        await result_of(client, kernel, "answer = 42")

        # A kernel is added: the gateway, its token and its kernels do not notice.
        await helm.upgrade("first", *ADD_A_KERNEL)
        await within_timeout(wait_listed(client, "custom"))
        assert await gateway_pods(namespace, "first") == first_pods
        assert await result_of(client, kernel, "print(answer)") == "42"

    # Something of the gateway's own is changed: another process, which finds the kernel again.
    await helm.upgrade("first", "--set", "gateway.logLevel=DEBUG")
    assert (await gateway_pods(namespace, "first")).keys().isdisjoint(first_pods)
    assert await token(namespace, "first") == first_token
    async with gateway(namespace, "first") as client:
        await within_timeout(wait_listed(client, "custom"))
        assert await result_of(client, kernel, "print(answer)") == "42"

    await helm("rollback", "first", "1", "--wait", f"--timeout={TIMEOUT_SECONDS}s")
    assert await token(namespace, "first") == first_token
    async with gateway(namespace, "first") as client:
        assert await result_of(client, kernel, "print(answer)") == "42"

    # Its kernels go with it.
    await helm("uninstall", "first", "--wait")
    await namespace.wait_no_kernels()
    labels = "app.kubernetes.io/instance=first"
    for gone in (("pods", "-l", labels), ("lease/first-gateway-provisioners-leader",)):
        await namespace.run("wait", "--for=delete", *gone, f"--timeout={TIMEOUT_SECONDS}s")
    assert await everything(namespace) == before


async def test_two_releases_in_one_namespace(helm, administrator):
    await helm.install(LONGEST_NAME)
    await helm.install("two")
    async with gateway(administrator, LONGEST_NAME) as one, gateway(administrator, "two") as two:
        kernel = await one.start()
        assert set(await one.kernels()) == {kernel}
        assert await two.kernels() == {}
        await helm("uninstall", "two", "--wait")
        assert await result_of(one, kernel, "print('still here')") == "still here"
    await helm("uninstall", LONGEST_NAME, "--wait")
    await administrator.wait_no_kernels()
    gateways = ("pods", "-l", "app.kubernetes.io/component=gateway")
    await administrator.run("wait", "--for=delete", *gateways, f"--timeout={TIMEOUT_SECONDS}s")


@pytest.mark.parametrize(
    "path", sorted((CHART / "ci").glob("*-values.yaml")), ids=lambda path: path.stem
)
async def test_api_server_accepts_every_value(helm, administrator, path):
    # A namespace that there is, and no kinds that the cluster has to be taught first.
    there = f"--set=kernelNamespace={administrator.name}"
    manifests = await helm("template", "all", str(CHART), f"--values={path}", there)
    manifests = yaml.safe_dump_all(
        item
        for item in yaml.safe_load_all(manifests)
        if item and item["apiVersion"].partition("/")[0] not in ELSEWHERE
    )
    await administrator.run(
        "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=manifests
    )
