"""A gateway in a process of its own, and the memory that it takes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ci.commands import CommandError
from ci.gateway_client import TIMEOUT_SECONDS, Gateway
from ci.paths import ROOT
from gateway_provisioners.model.addresses import in_url

TOKEN = "a-token-of-the-process"  # noqa: S105 - of no other gateway
# With default settings, whatever clients and kernels do.
MOST_MEBIBYTES = 256
# A gateway that fails must not take the machine.
_KILLED_AT_MEBIBYTES = 700


@dataclass
class GatewayProcess:
    """A running gateway."""

    process: asyncio.subprocess.Process
    url: str
    health_url: str
    client: Gateway
    log_file: Path

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    def log(self) -> str:
        """Return what it has logged."""
        return self.log_file.read_text()

    async def metrics(self) -> str:
        """Return its metrics, in Prometheus's text format."""
        async with self.client._session.get(f"{self.health_url}/metrics") as response:
            return await response.text()

    def mebibytes(self, field: str = "VmRSS") -> int:
        """Return its resident memory; VmHWM is the most that it was."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = status.partition(f"{field}:")[2].split()  # a process that has ended has none
        return int(found[0]) // 1024 if found else 0

    def peak(self) -> int:
        """Return the most memory that it had, in MiB."""
        return self.mebibytes("VmHWM")


async def _guard(gateway: GatewayProcess) -> None:
    while gateway.process.returncode is None:
        if gateway.mebibytes() > _KILLED_AT_MEBIBYTES:
            gateway.process.kill()
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def gateway_process(
    folder: Path, host: str = "127.0.0.1", **settings: str
) -> AsyncIterator[GatewayProcess]:
    """Run a gateway with these GP_* and KG_* variables; `host` is where it is reached."""
    folders = {}
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        (folder / f"process-{name}").mkdir()
        folders[name] = str(folder / f"process-{name}")
    log_file = folder / "gateway.log"
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ci.local_gateway_program",
            Path(folders["JUPYTER_DATA_DIR"]) / "kernels",
            env={
                **os.environ,
                **folders,
                "TMPDIR": str(folder),  # kernels that are killed leave their sockets
                "PYTHONPATH": str(ROOT),
                "GP_AUDIT": str(folder / "audit.log"),  # standard output is for the ports
                "KG_AUTH_TOKEN": TOKEN,
                "KG_DEFAULT_KERNEL_NAME": "launched",
                **settings,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None  # noqa: S101
        line = await asyncio.wait_for(process.stdout.readline(), TIMEOUT_SECONDS)
        if not line:
            raise CommandError(f"the gateway does not serve:\n{log_file.read_text()}")
        port, health_port = line.decode().split()
        url = f"http://{in_url(host)}:{port}"
        async with Gateway(url, TOKEN) as client:
            running = GatewayProcess(
                process, url, f"http://{in_url(host)}:{health_port}", client, log_file
            )
            guard = asyncio.create_task(_guard(running))
            yield running
            guard.cancel()
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), TIMEOUT_SECONDS)
