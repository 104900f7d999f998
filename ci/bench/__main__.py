"""Run the bench, or some of its measurements: ``python -m ci.bench [adoption rollout docker ...]``.

Missed targets are listed; the exit code is 1 only when something could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import platform
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import Any

import aiodocker
import pyhelm3  # type: ignore[import-untyped]

from ci import clusters, docker_engine
from ci.bench import clients, docker, kwok_node, load, plot, results, schedule
from ci.bench.api import connected
from ci.bench.baselines import BarePods
from ci.bench.client import FAILURES
from ci.bench.deploy import deployed
from ci.bench.measure import Samples
from ci.bench.results import Row
from ci.clusters import Cluster
from ci.commands import CommandError, UserError, exit_code, run
from ci.docker_engine import DockerEngine
from ci.images import KERNEL_PY
from ci.paths import ROOT, cache
from ci.peer import images as peer_images
from ci.progress import say

RESULTS = ROOT / "build/bench"
_UNMEASURED = (*FAILURES, aiodocker.DockerError, pyhelm3.errors.Error)


def _circumstances(engine: str) -> dict[str, Any]:
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores, {gibibytes:.0f} GiB, {platform.machine()}",
        "engine": engine,
        "commit": run("git", "-C", ROOT, "describe", "--always", "--dirty").strip(),
        "load_before": os.getloadavg()[0],
    }


async def _measure(cluster: Cluster, names: Collection[str]) -> Samples:
    async with connected(cluster) as api, deployed(cluster, api) as sides:
        bare = BarePods(api, sides.bare_namespace, KERNEL_PY.reference)
        samples = await schedule.measure(cluster, sides, bare, names)
        for side in sides:
            for failure in side.gateway.failures:
                say(f"  failed start, {side.name}: {failure}")
        return samples


def _report(name: str, samples: Samples, table: Sequence[Row], about: dict[str, Any]) -> None:
    caption = f"{about['date']}, {about['machine']}, {about['engine']}, {about['commit']}."
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {**about, "samples": samples}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(f"{results.markdown(table)}\n{caption}\n")
    plot.draw(table, caption, [RESULTS / f"{name}.png", RESULTS / f"{name}.svg"])
    say(f"\n{caption}\n\n{results.text(table)}\n")
    missed = results.misses(table)
    say(
        "\n".join(["Missed:", *(f"  {words}" for words in missed)])
        if missed
        else "All targets reached."
    )
    say(f"The samples, the table and a plot: {RESULTS}/{name}.*")


def _possible(names: Collection[str]) -> Collection[str]:
    """Return the named measurements, or all that the chosen cluster allows."""
    if unknown := set(names) - set(schedule.NAMES):
        known = ", ".join(schedule.NAMES)
        raise UserError(f"no measurement is called {', '.join(sorted(unknown))}; use: {known}")
    if names and set(names) <= schedule.NO_CLUSTER:
        return names
    if clusters.choose() == "current":
        raise UserError(
            "the bench puts its images onto the node, which CLUSTER=current does not allow: "
            "use CLUSTER=local or CLUSTER=kind"
        )
    if clusters.choose() == "local":
        return names or schedule.NAMES
    impossible = ", ".join(sorted(schedule.LOCAL_ONLY))
    if schedule.LOCAL_ONLY & set(names):
        raise UserError(f"{impossible} can be measured with CLUSTER=local only")
    if not names:
        say(f"  left out, as they need CLUSTER=local: {impossible}")
    return names or set(schedule.NAMES) - schedule.LOCAL_ONLY


@contextmanager
def _load_logged(engine: str) -> Iterator[dict[str, Any]]:
    """Print the load of the machine before and after; give the facts for the table's caption."""
    start = time.monotonic()
    about = _circumstances(engine)
    say(f"  {about['machine']}; load {about['load_before']:.1f}: the less, the better the numbers")
    try:
        yield about
    except _UNMEASURED as error:
        raise CommandError(f"could not be measured: {type(error).__name__} {error}") from error
    about["load_after"] = os.getloadavg()[0]
    say(f"  measured in {time.monotonic() - start:.0f} s; load {about['load_after']:.1f}")


def _bench_cluster(names: Collection[str]) -> None:
    cluster = clusters.ensure()
    if "adoption" in names:
        kwok_node.build()
    with _load_logged(f"{cluster.choice} cluster") as about:
        samples = asyncio.run(_measure(cluster, names))
    _report("results", samples, results.rows(samples), about)


def _bench_docker(engine: DockerEngine) -> None:
    version = engine.cli("version", "--format", "{{.Server.Version}}").strip()
    with _load_logged(f"Docker engine {version}") as about:
        samples, failures = asyncio.run(docker.measure(engine))
    for failure in failures:
        say(f"  failed, {failure}")
    _report("docker", samples, results.docker_rows(samples), about)


def _bench_load() -> None:
    with _load_logged("processes of this machine") as about:
        samples = asyncio.run(load.measure())
    _report("load", samples, results.load_rows(samples), about)


def _bench_clients() -> None:
    with _load_logged("processes of this machine") as about:
        samples = asyncio.run(clients.measure())
    _report("clients", samples, results.client_rows(samples), about)


def bench(names: Collection[str]) -> None:
    """Measure both sides on the chosen cluster and on the Docker engine, and leave nothing there."""
    names = _possible(names)
    peer_images.register()
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError("another bench is running; wait until it has ended") from error
        # First, so that a missing engine is known before the 15 minutes on the cluster.
        engine = docker_engine.ensure() if schedule.DOCKER in names else None
        if on_cluster := set(names) - schedule.NO_CLUSTER:
            _bench_cluster(on_cluster)
        if schedule.LOAD in names:
            _bench_load()
        if schedule.CLIENTS in names:
            _bench_clients()
        if engine is not None:
            _bench_docker(engine)


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="python -m ci.bench", description=__doc__)
    parser.add_argument(
        "measurements", nargs="*", help=f"{', '.join(schedule.NAMES)}; default: all"
    )
    return exit_code(partial(bench, parser.parse_args().measurements))


if __name__ == "__main__":
    sys.exit(main())
