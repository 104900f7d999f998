"""The measurements, in their order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from ci.bench.adoption import adoption
from ci.bench.baselines import BarePods
from ci.bench.deploy import Sides
from ci.bench.languages import languages
from ci.bench.measure import Samples, cold_starts, executions, idle, no_samples, warm_up
from ci.bench.rollout import rollout
from ci.clusters import Cluster

Measurement = Callable[[Samples, Cluster, Sides, BarePods], Awaitable[None]]

MEASUREMENTS: Mapping[str, Measurement] = {
    "starts": lambda samples, _, sides, bare: cold_starts(samples, sides, bare, rounds=6, count=1),
    "executions": lambda samples, cluster, sides, _: executions(samples, cluster, sides),
    "together": lambda samples, _, sides, bare: cold_starts(
        samples, sides, bare, rounds=3, count=10
    ),
    "languages": lambda samples, _cluster, sides, _bare: languages(samples, sides.ours),
    "idle": lambda samples, _cluster, sides, _bare: idle(samples, sides),
    "adoption": lambda samples, cluster, sides, _: adoption(samples, cluster, sides.ours),
    "rollout": lambda samples, _cluster, sides, _bare: rollout(samples, sides),
}
# On the Docker engine, see ci.bench.docker: no cluster is needed for these.
DOCKER = "docker"
# On this machine alone, see ci.bench.load.
LOAD = "load"
# Also on this machine alone, see ci.bench.clients.
CLIENTS = "clients"
NO_CLUSTER = frozenset({DOCKER, LOAD, CLIENTS})
NAMES = (*MEASUREMENTS, DOCKER, LOAD, CLIENTS)
# From this host straight to pods and Services, which come and go meanwhile.
LOCAL_ONLY = frozenset({"adoption", "rollout"})


async def measure(
    cluster: Cluster, sides: Sides, bare: BarePods, names: Collection[str]
) -> Samples:
    """Take the named measurements."""
    samples = no_samples()
    await warm_up(sides, bare)
    for name, take in MEASUREMENTS.items():
        if name in names:
            await take(samples, cluster, sides, bare)
    for side in sides:
        samples["failed_starts"][side.name] += [len(side.gateway.failures)]
    return samples
