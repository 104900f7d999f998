"""Run the bench, or some of its measurements: ``python -m ci.bench [adoption rollout ...]``.

Missed targets are told in words; the exit code is 1 only when something could not be measured.
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
from collections.abc import Collection
from datetime import datetime, timezone
from functools import partial
from typing import Any

import aiohttp
import pyhelm3  # type: ignore[import-untyped]

from ci import clusters
from ci.bench import fake_node, plot, results, schedule
from ci.bench.api import connected
from ci.bench.deploy import deployed
from ci.bench.floors import BarePods
from ci.bench.measure import Samples
from ci.clusters import Cluster
from ci.commands import CommandError, UserError, exit_code, run
from ci.images import KERNEL_PY
from ci.paths import ROOT, cache
from ci.peer import images as peer_images
from ci.progress import say

RESULTS = ROOT / "build/bench"


def _circumstances(cluster: Cluster) -> dict[str, Any]:
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores, {gibibytes:.0f} GiB, {platform.machine()}",
        "cluster": cluster.choice,
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


def _tell(samples: Samples, about: dict[str, Any]) -> None:
    table = results.rows(samples)
    caption = f"{about['date']}, {about['machine']}, {about['cluster']} cluster, {about['commit']}."
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {**about, "samples": samples}
    (RESULTS / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    (RESULTS / "results.md").write_text(f"{results.markdown(table)}\n{caption}\n")
    plot.draw(table, caption, [RESULTS / "results.png", RESULTS / "results.svg"])
    say(f"\n{results.text(table)}\n")
    missed = results.misses(table)
    say(
        "\n".join(["Missed:", *(f"  {words}" for words in missed)])
        if missed
        else "All targets reached."
    )
    say(f"The samples, the table and a plot: {RESULTS}/results.*")


def _possible(names: Collection[str]) -> Collection[str]:
    """Return what is to be measured on the chosen cluster: all that can be, where nothing is named."""
    if unknown := set(names) - schedule.MEASUREMENTS.keys():
        known = ", ".join(schedule.MEASUREMENTS)
        raise UserError(f"no measurement {', '.join(sorted(unknown))}: there are {known}")
    if clusters.choose() == "local":
        return names or schedule.MEASUREMENTS.keys()
    impossible = ", ".join(sorted(schedule.LOCAL_ONLY))
    if schedule.LOCAL_ONLY & set(names):
        raise UserError(f"{impossible} can be measured with CLUSTER=local only")
    if not names:
        say(f"  left out, as they need CLUSTER=local: {impossible}")
    return names or schedule.MEASUREMENTS.keys() - schedule.LOCAL_ONLY


def bench(names: Collection[str]) -> None:
    """Measure both sides on the chosen cluster, and leave nothing on it."""
    if clusters.choose() == "current":
        raise UserError(
            "the bench puts its images onto the node, which CLUSTER=current does not allow: "
            "use CLUSTER=local or CLUSTER=kind"
        )
    names = _possible(names)
    peer_images.register()
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError("another bench runs") from error
        start = time.monotonic()
        cluster = clusters.ensure()
        if "adoption" in names:
            fake_node.build()
        about = _circumstances(cluster)
        say(
            f"  {about['machine']}; load {about['load_before']:.1f}: the less, the better the numbers"
        )
        try:
            samples = asyncio.run(_measure(cluster, names))
        except (aiohttp.ClientError, asyncio.TimeoutError, pyhelm3.errors.Error) as error:
            raise CommandError(f"could not be measured: {type(error).__name__} {error}") from error
        say(f"  measured in {time.monotonic() - start:.0f} s; load {os.getloadavg()[0]:.1f}")
        _tell(samples, about)


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="python -m ci.bench", description=__doc__)
    parser.add_argument(
        "measurements", nargs="*", help=f"{', '.join(schedule.MEASUREMENTS)}; default: all"
    )
    return exit_code(partial(bench, parser.parse_args().measurements))


if __name__ == "__main__":
    sys.exit(main())
