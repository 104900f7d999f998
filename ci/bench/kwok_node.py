"""A simulated node: kwok reports the pods on it as running, and nothing is ever started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ci import go_programs
from ci.bench.api import Api, wait_until
from ci.clusters import Cluster
from ci.commands import CommandError, run
from ci.paths import ROOT

NAME = "gp-bench-fake"
LABELS = {"gp-bench/fake": "true"}
TAINT = {"key": "gp-bench/fake", "effect": "NoSchedule"}
_MODULE = "sigs.k8s.io/kwok"
_SOURCE = ROOT / "ci/bench/kwok"
# What kwok plays: a node gets ready, its pods run at once and go as soon as they are deleted.
_STAGES = ("node/fast/node-initialize", "pod/fast/pod-ready", "pod/fast/pod-delete")
# The pods' addresses, which are never used: a range that is reserved for benchmarks (RFC 2544).
_POD_ADDRESSES = "198.18.0.0/16"


def build() -> Path:
    """Build kwok unless that is done; return the program."""
    return go_programs.ensure(_SOURCE, f"{_MODULE}/cmd/kwok", "kwok")


def remove(cluster: Cluster, namespace: str) -> None:
    """Remove the node and the pods on it, which no kubelet would ever confirm to be gone."""
    kubectl = [str(cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}"]
    pods = f"/api/v1/namespaces/{namespace}/pods"
    on_it = f"fieldSelector=spec.nodeName={NAME}&gracePeriodSeconds=0"
    # One request: kubectl would delete them one by one.
    run(*kubectl, "delete", f"--raw={pods}?{on_it}")
    run(*kubectl, "delete", "node", NAME, "--ignore-not-found")
    run(*kubectl, "--namespace=kube-node-lease", "delete", "lease", NAME, "--ignore-not-found")


@asynccontextmanager
async def kwok_node(cluster: Cluster, api: Api, namespace: str) -> AsyncIterator[None]:
    """Have the node for the length of the block; pods in `namespace` may be on it."""
    kwok = await asyncio.to_thread(build)
    stages = go_programs.module_folder(_SOURCE, _MODULE) / "kustomize/stage"
    await api.post(
        "/api/v1/nodes",
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": NAME, "labels": {**LABELS, "kubernetes.io/hostname": NAME}},
            "spec": {"taints": [TAINT]},
        },
    )
    process = await asyncio.create_subprocess_exec(
        kwok,
        f"--kubeconfig={cluster.kubeconfig}",
        f"--manage-single-node={NAME}",
        f"--cidr={_POD_ADDRESSES}",
        "--node-port=0",  # it would serve logs and shells there
        *(f"--config={stages / stage}.yaml" for stage in _STAGES),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def is_ready() -> bool:
        if process.returncode is not None:
            raise CommandError(f"kwok ended with exit code {process.returncode}")
        conditions = (await api.get(f"/api/v1/nodes/{NAME}"))["status"].get("conditions") or ()
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    try:
        await wait_until(is_ready, "kwok's node is ready")
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await asyncio.to_thread(remove, cluster, namespace)
