"""Change how many processes a gateway has, and replace them by new ones."""

from __future__ import annotations

from datetime import datetime, timezone

from ci.bench.api import Object, labels, wait_until
from ci.bench.deploy import Side


def _path(side: Side) -> str:
    return f"/apis/apps/v1/namespaces/{side.namespace}/deployments/{side.deployment}"


async def pods(side: Side) -> list[Object]:
    """Return the gateway's pods, those that are ending as well."""
    deployment = await side.api.get(_path(side))
    of_gateway = labels(**deployment["spec"]["selector"]["matchLabels"])
    listed = await side.api.get(f"/api/v1/namespaces/{side.namespace}/pods", **of_gateway)
    items: list[Object] = listed["items"]
    return items


async def _settled(side: Side) -> bool:
    deployment = await side.api.get(_path(side))
    status, wanted = deployment["status"], deployment["spec"]["replicas"]
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return False
    counts = [status.get(f"{kind}eplicas", 0) for kind in ("r", "updatedR", "availableR")]
    return counts == [wanted] * 3 and len(await pods(side)) == wanted


async def wait_until_settled(side: Side) -> None:
    """Return when the gateway's processes are those that are wanted, and no other."""
    await wait_until(lambda: _settled(side), f"the gateway in {side.namespace} is rolled out")


async def ask_for(side: Side, replicas: int) -> None:
    """Ask for that many processes; returns at once."""
    await side.api.patch(_path(side), {"spec": {"replicas": replicas}})


async def scale(side: Side, replicas: int) -> None:
    """Let the gateway have that many processes."""
    await ask_for(side, replicas)
    await wait_until_settled(side)


async def roll_out(side: Side) -> None:
    """Replace each process by a new one, as `kubectl rollout restart` does."""
    now = datetime.now(timezone.utc).isoformat()
    annotations = {"kubectl.kubernetes.io/restartedAt": now}
    template = {"metadata": {"annotations": annotations}}
    await side.api.patch(_path(side), {"spec": {"template": template}})
    await wait_until_settled(side)
