"""Put both gateways onto the cluster, each in a namespace of its own, and take them away again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import pyhelm3  # type: ignore[import-untyped]

from ci import images
from ci.bench import idle_requests, kwok_node
from ci.bench.api import Api, Object, labels
from ci.bench.client import Gateway
from ci.bench.node_view import wait_until_stopped
from ci.bench.port_access import port_access
from ci.clusters import Cluster
from ci.commands import CommandError, run
from ci.gateway_access import Release
from ci.paths import ROOT
from ci.peer.deploy import PORT
from ci.peer.deploy import install as install_peer
from ci.peer.images import PEER_GATEWAY, PEER_KERNEL_PY
from ci.peer.manifests import NAME as PEER
from ci.progress import say, step

RELEASE = "gateway"
_OF_KERNELS = labels(component="kernel")


@dataclass(frozen=True)
class Side:
    """One of the two gateways."""

    name: str
    api: Api
    namespace: str
    service_account: str
    deployment: str
    gateway: Gateway

    async def remove_kernels(self) -> None:
        """Delete all kernels and return when their pods are gone."""
        await self.gateway.delete_all()
        await self._wait_until_gone()

    async def remove_kernel_pods(self) -> None:
        """Do the same, and delete the pods of kernels that the gateway does not know any more."""
        await self.gateway.delete_all()
        await self.api.delete_all(self._pods, grace_seconds=0, **_OF_KERNELS)
        await self._wait_until_gone()

    async def kernel_pods(self) -> list[Object]:
        """Return the pods of all kernels."""
        pods: list[Object] = (await self.api.get(self._pods, **_OF_KERNELS))["items"]
        return pods

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    async def _wait_until_gone(self) -> None:
        await self.api.wait_until_empty(self._pods, **_OF_KERNELS)
        await wait_until_stopped(self.api, self.namespace)


@dataclass(frozen=True)
class Sides:
    """Both gateways, and where bare pods go."""

    ours: Side
    peer: Side
    bare_namespace: str

    def __iter__(self) -> Iterator[Side]:
        return iter((self.ours, self.peer))


def _kubectl(cluster: Cluster, *arguments: str, stdin: str = "") -> str:
    return run(cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}", *arguments, stdin=stdin)


NAMESPACES = {"ours": "gp-bench-ours", "peer": "gp-bench-peer", "bare": "gp-bench-bare"}


def _remove(cluster: Cluster) -> None:
    kwok_node.remove(cluster, NAMESPACES["ours"])
    for namespace in NAMESPACES.values():
        # Idle kernels need no grace period; a namespace that is deleted would give them 30 seconds.
        arguments = ("delete", "pods", "--all", "--now", "--wait=false")
        _kubectl(cluster, f"--namespace={namespace}", *arguments)
    _kubectl(cluster, "delete", "namespace", "--ignore-not-found", "--wait", *NAMESPACES.values())
    _kubectl(
        cluster, "delete", "flowschema", "--ignore-not-found", *idle_requests.names(NAMESPACES)
    )


@contextmanager
def _namespaces(cluster: Cluster) -> Iterator[None]:
    with step("Remove what a killed bench may have left"):
        _remove(cluster)
    try:
        for namespace in NAMESPACES.values():
            _kubectl(cluster, "create", "namespace", namespace)
            place = f"--namespace={namespace}"
            _kubectl(
                cluster, place, "wait", "--for=create", "serviceaccount/default", "--timeout=60s"
            )
        yield
    finally:
        try:
            with step("Remove all that the bench made"):
                _remove(cluster)
        except CommandError as error:
            # Printed and not raised: an error that ended the block is of more interest.
            say(f"  not removed, the next run will: {error}")


def load_images(cluster: Cluster) -> str:
    """Build the images and put them onto the node; return a name for this build of our gateway image."""
    ours = (images.GATEWAY, images.KERNEL_PY, images.KERNEL_R, images.KERNEL_SCALA)
    wanted = (*ours, PEER_GATEWAY, PEER_KERNEL_PY)
    built = {
        built.reference: built.archive for built in images.ensure([i.reference for i in wanted])
    }
    with step("Put the images onto the node"):
        cluster.load(built.values())
    return built[images.GATEWAY.reference].stem


async def _install_ours(cluster: Cluster, built_as: str) -> tuple[str, str]:
    """Install our chart with its defaults and all its kernels; return the token and the service account."""
    helm = pyhelm3.Command(executable=str(cluster.helm), kubeconfig=cluster.kubeconfig)
    values = {
        "gateway": {"podAnnotations": {"gateway-provisioners/built-as": built_as}},
        "kernels": {"r": {"enabled": True}, "scala": {"enabled": True}},
    }
    await helm.install_or_upgrade(
        RELEASE,
        ROOT / "charts/gateway-provisioners",
        values,
        namespace=NAMESPACES["ours"],
        create_namespace=False,
        wait=True,
    )
    release = Release(cluster, NAMESPACES["ours"], RELEASE)
    arguments = ("get", "deployment", "--output", "jsonpath={..serviceAccountName}")
    return release.token(), release.kubectl(*arguments).strip()


@asynccontextmanager
async def deployed(cluster: Cluster, api: Api) -> AsyncIterator[Sides]:
    """Install both gateways for the length of the block."""
    built_as = load_images(cluster)
    async with AsyncExitStack() as stack:
        stack.enter_context(_namespaces(cluster))
        with step("Install our gateway with Helm"):
            ours = await _install_ours(cluster, built_as)
        with step("Install the peer's gateway"):
            peer = (install_peer(cluster, NAMESPACES["peer"]), PEER)

        async def side(name: str, credentials: tuple[str, str], kernel_name: str) -> Side:
            token, account = credentials
            namespace = NAMESPACES[name]
            [deployment] = (await api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments"))[
                "items"
            ]
            [service] = (await api.get(f"/api/v1/namespaces/{namespace}/services"))["items"]
            target = f"service/{service['metadata']['name']}"
            ip, ports = await stack.enter_async_context(
                port_access(cluster, namespace, target, service["spec"]["clusterIP"], [PORT])
            )
            gateway = Gateway(f"http://{ip}:{ports[PORT]}", token, kernel_name)
            await stack.enter_async_context(gateway)
            await idle_requests.count_apart(api, name, namespace, account)
            return Side(name, api, namespace, account, deployment["metadata"]["name"], gateway)

        yield Sides(
            await side("ours", ours, "python3"),
            await side("peer", peer, "k8s_python"),
            NAMESPACES["bare"],
        )
