"""Access to ports in the cluster: direct where this host has a route, else forwarded."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from ci.clusters import Cluster
from ci.commands import CommandError


@asynccontextmanager
async def port_access(
    cluster: Cluster, namespace: str, target: str, ip: str, ports: Sequence[int]
) -> AsyncIterator[tuple[str, Mapping[int, int]]]:
    """Yield an address for the ports of a pod or Service, and the port there for each of them."""
    if cluster.choice == "local":
        # The local cluster's Services and pods have routes on this host.
        yield ip, {port: port for port in ports}
        return
    process = await asyncio.create_subprocess_exec(
        str(cluster.kubectl),
        f"--kubeconfig={cluster.kubeconfig}",
        f"--namespace={namespace}",
        "port-forward",
        "--address=127.0.0.1",
        target,
        *(f":{port}" for port in ports),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        forwarded: dict[int, int] = {}
        while len(forwarded) < len(ports):
            line = (await process.stdout.readline()).decode()
            found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)", line)
            if found is None:
                raise CommandError(f"kubectl port-forward {target} said {line!r}")
            forwarded[int(found[2])] = int(found[1])
        yield "127.0.0.1", forwarded
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()
