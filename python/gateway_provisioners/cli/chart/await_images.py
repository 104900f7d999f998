"""Wait until all nodes have pulled the kernel images: run by a Job, a hook of the chart.

    python -m gateway_provisioners.cli.chart.await_images --namespace N --timeout SECONDS DAEMONSET...

The exit code is 0 when they have; 1 after the timeout, or when the Kubernetes API cannot be used.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway_provisioners.aio import within
from gateway_provisioners.errors import GatewayProvisionersError
from gateway_provisioners.kube.api import KubeApi
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.model.pod.conditions import StartConditions
from gateway_provisioners.model.pod.ends import end_before_start

Object = Mapping[str, Any]


def unfinished(daemonset: Object | None) -> str:
    """Return how many of the DaemonSet's pods run, or "" when all do."""
    status = (daemonset or {}).get("status") or {}
    if daemonset is None or status.get("observedGeneration") != daemonset["metadata"]["generation"]:
        return "not started"
    wanted, ready = status["desiredNumberScheduled"], status["numberReady"]
    return "" if ready >= wanted else f"{ready} of {wanted} nodes have the images"


def obstacles(pods: Iterable[Object]) -> list[str]:
    """Return the reasons why some of these pods do not run, each with its nodes."""
    nodes: dict[str, set[str]] = {}
    for pod in pods:
        if obstacle := end_before_start(pod) or StartConditions(pod).present:
            node = pod["spec"].get("nodeName") or "(not scheduled)"
            nodes.setdefault(str(obstacle), set()).add(node)
    return [f"{message} Nodes: {', '.join(sorted(where))}." for message, where in nodes.items()]


async def await_images(api: KubeApi, namespace: str, names: Sequence[str], timeout: float) -> bool:
    """Wait until every pod of these DaemonSets runs; return False, and print why, after the timeout."""
    daemonsets = ObjectCache("image pullers", api.collection("DaemonSet", namespace))
    changed = asyncio.Event()
    daemonsets.subscribe(lambda _change, _daemonset: changed.set())

    async def all_finished() -> None:
        while any(unfinished(daemonsets.objects.get(name)) for name in names):
            await changed.wait()
            changed.clear()

    daemonsets.start()
    try:
        await within(timeout, all_finished())
    except asyncio.TimeoutError:
        _print(f"Not all nodes have the images after {timeout:g} s.")
        for name in names:
            if left := unfinished(daemonsets.objects.get(name)):
                _print(f"{name}: {left}.")
        pods, _ = await api.collection("Pod", namespace).list()
        for obstacle in obstacles(pod for pod in pods if _owner(pod) in names):
            _print(obstacle)
        return False
    finally:
        await daemonsets.stop()
    _print("All nodes have the images.")
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(prog="await_images", description=__doc__)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("daemonsets", nargs="*")
    options = parser.parse_args(argv)
    try:
        return asyncio.run(_run(options))
    except GatewayProvisionersError as error:
        _print(str(error))
        return 1


async def _run(options: argparse.Namespace) -> int:
    api = await KubeApi.connect()
    try:
        done = await await_images(api, options.namespace, options.daemonsets, options.timeout)
    finally:
        await api.close()
    return 0 if done else 1


def _owner(pod: Object) -> str:
    owners = pod["metadata"].get("ownerReferences") or [{"name": ""}]
    return str(owners[0]["name"])


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
