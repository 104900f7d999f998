"""The node's own view: what its containers use (the Summary API) and which of them still run.

An object that was deleted without grace is gone from the API server at once, and its containers are not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ci.bench.api import Api, wait_until
from ci.commands import CommandError

# The kubelet looks at a container every 10 to 15 seconds; its report has the time of that look.
SECONDS = 60
# The container's name in both gateways' pods. Kernels' are called otherwise.
GATEWAY = "gateway"


@dataclass(frozen=True)
class Usage:
    """CPU seconds per minute, and bytes of memory that hold no file."""

    cpu_per_minute: float
    memory: float


async def _ask(api: Api, path: str) -> AsyncIterator[dict[str, Any]]:
    """Yield what each node's kubelet answers."""
    for node in (await api.get("/api/v1/nodes"))["items"]:
        yield await api.get(f"/api/v1/nodes/{node['metadata']['name']}/proxy/{path}")


async def _container(api: Api, namespace: str) -> dict[str, Any]:
    async for summary in _ask(api, "stats/summary"):
        for pod in summary["pods"]:
            for container in pod["containers"] if pod["podRef"]["namespace"] == namespace else ():
                if container["name"] == GATEWAY:
                    found: dict[str, Any] = container
                    return found
    raise CommandError(f"no kubelet accounts for the gateway in {namespace}")


async def gateway_usage(api: Api, namespace: str) -> Usage:
    """Watch the gateway in this namespace for a minute."""
    before = (await _container(api, namespace))["cpu"]
    await asyncio.sleep(SECONDS)
    container = await _container(api, namespace)
    after = container["cpu"]
    seconds = (
        datetime.fromisoformat(after["time"].replace("Z", "+00:00"))
        - datetime.fromisoformat(before["time"].replace("Z", "+00:00"))
    ).total_seconds()
    if seconds <= 0:
        raise CommandError(f"the kubelet did not look at the gateway in {namespace} for a minute")
    used = (after["usageCoreNanoSeconds"] - before["usageCoreNanoSeconds"]) / 1e9
    return Usage(used / seconds * 60, container["memory"]["rssBytes"])


async def wait_until_stopped(api: Api, namespace: str) -> None:
    """Return when no container but a gateway's runs in this namespace, as its node sees it."""

    async def stopped() -> bool:
        async for answer in _ask(api, "runningpods/"):
            for pod in answer["items"] or ():
                names = [container["name"] for container in pod["spec"]["containers"] or ()]
                if pod["metadata"]["namespace"] == namespace and names != [GATEWAY]:
                    return False
        return True

    await wait_until(stopped, f"the containers in {namespace} have stopped")
