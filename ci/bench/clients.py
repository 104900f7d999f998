"""A kernel of a gateway as a local kernelspec, beside the gateway's websocket alone.

The gateway is a process of its own on this machine, and so are its kernels: no cluster is needed. Both sides
use the same gateway in turns, and read all messages as JSON. One is a plain client of the websocket; the
other is an unchanged jupyter_client with a kernelspec of `jupyter gateway-spec install`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from ci.bench.measure import Samples, no_samples
from ci.bench.v1_frames import V1, execute_request, from_v1, to_v1
from ci.commands import run
from ci.gateway_client import TIMEOUT_SECONDS, Gateway
from ci.local_gateway import TOKEN, GatewayProcess, gateway_process
from ci.progress import step

KERNEL = "launched"
STARTS = 15
UNCOUNTED_ROUND_TRIPS = 20
ROUND_TRIPS = 100
ROUNDS = 5
BULK_MESSAGES = 60
BULK_ROUNDS = 10

_BULK = f"""
from IPython.display import publish_display_data
for n in range({BULK_MESSAGES}): publish_display_data({{"text/plain": "x" * 1_000_000}})
"""


async def measure() -> Samples:
    """Take all measurements."""
    samples = no_samples()
    with TemporaryDirectory() as folder:
        async with gateway_process(Path(folder)) as gateway:
            with step("jupyter gateway-spec install"):
                installed = await asyncio.to_thread(_install, gateway.url, Path(folder))
            with step(f"{STARTS} starts on each side"):
                await _starts(samples, gateway, installed)
            async with _through_websocket(gateway) as alone, _through_spec(installed) as through:
                sides = (("gateway", alone), ("ours", through))
                with step("Round trips and bulk output"):
                    await _executions(samples, sides)
    return samples


@dataclass(frozen=True)
class _Installed:
    """The kernelspecs, and the environment in which kernels of theirs start."""

    specs: KernelSpecManager
    environment: Mapping[str, str]


def _install(url: str, folder: Path) -> _Installed:
    program = Path(sys.executable).with_name("jupyter-gateway-spec")
    options: list[str | Path] = ["--url", url]
    options += ["--prefix", folder / "prefix", "--kernel", KERNEL]
    # What the program of a kernelspec remembers of kernels is not of the user who measures.
    folders = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("DATA", "RUNTIME")}
    environment = {**os.environ, **folders, "JUPYTER_GATEWAY_AUTH_TOKEN": TOKEN}
    run(program, "install", *options, env=environment)
    kernels = str(folder / "prefix/share/jupyter/kernels")
    return _Installed(
        KernelSpecManager(kernel_dirs=[kernels], ensure_native_kernel=False), environment
    )


class _Websocket:
    """A plain client of a kernel's websocket."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._websocket = websocket

    async def execute(self, code: str) -> int:
        """Return how many outputs there were, once both the reply and `idle` have come."""
        request = secrets.token_hex(8)
        await self._websocket.send_bytes(to_v1(execute_request(request, code)))
        outputs, missing = 0, {"execute_reply", "idle"}
        while missing:
            message = from_v1(await self._websocket.receive_bytes(timeout=TIMEOUT_SECONDS))
            if message["parent_header"].get("msg_id") == request:
                outputs += message["header"]["msg_type"] == "display_data"
                missing -= {
                    message["header"]["msg_type"],
                    message["content"].get("execution_state"),
                }
        return outputs


class _JupyterClient:
    """jupyter_client with a kernel that is a local process to it."""

    def __init__(self, client: AsyncKernelClient) -> None:
        self._client = client

    async def execute(self, code: str) -> int:
        """Return how many outputs there were, once both the reply and `idle` have come."""
        request = self._client.execute(code, store_history=False, allow_stdin=False)
        outputs, idle = 0, False
        while not idle:
            message = await self._client.get_iopub_msg(timeout=TIMEOUT_SECONDS)
            if message["parent_header"].get("msg_id") == request:
                outputs += message["msg_type"] == "display_data"
                idle = message["content"].get("execution_state") == "idle"
        reply = await self._client.get_shell_msg(timeout=TIMEOUT_SECONDS)
        while reply["parent_header"].get("msg_id") != request:
            reply = await self._client.get_shell_msg(timeout=TIMEOUT_SECONDS)
        return outputs


_Side = _Websocket | _JupyterClient


@contextlib.asynccontextmanager
async def _websocket(client: Gateway, kernel_id: str) -> AsyncIterator[_Websocket]:
    url = f"{client.url}/api/kernels/{kernel_id}/channels?session_id={secrets.token_hex(8)}"
    async with client._session.ws_connect(url, protocols=[V1], max_msg_size=0) as websocket:
        yield _Websocket(websocket)


@contextlib.asynccontextmanager
async def _through_websocket(gateway: GatewayProcess) -> AsyncIterator[_Websocket]:
    kernel_id = await gateway.client.start(KERNEL)
    try:
        async with _websocket(gateway.client, kernel_id) as websocket:
            yield websocket
    finally:
        await gateway.client.delete(kernel_id)


@contextlib.asynccontextmanager
async def _through_spec(installed: _Installed) -> AsyncIterator[_JupyterClient]:
    manager, client = await _started(installed)
    try:
        await client.wait_for_ready(timeout=TIMEOUT_SECONDS)
        yield _JupyterClient(client)
    finally:
        client.stop_channels()
        await manager.shutdown_kernel()


async def _started(installed: _Installed) -> tuple[AsyncKernelManager, AsyncKernelClient]:
    manager = AsyncKernelManager(kernel_name=KERNEL, kernel_spec_manager=installed.specs)
    await manager.start_kernel(env=installed.environment)
    client = manager.client()
    client.start_channels()
    return manager, client


async def _starts(samples: Samples, gateway: GatewayProcess, installed: _Installed) -> None:
    """Start kernels, until each has answered its first request; the first start of each is not counted."""
    for number in range(STARTS + 1):
        alone = await _start_through_websocket(gateway)
        ours = await _start_through_spec(installed)
        if number:
            samples["client_start"]["gateway"] += [alone]
            samples["client_start"]["ours"] += [ours]
            samples["client_start_added"]["ours"] += [ours - alone]


async def _start_through_websocket(gateway: GatewayProcess) -> float:
    begin = time.perf_counter()
    async with _through_websocket(gateway) as websocket:
        await websocket.execute("1+1")
        return time.perf_counter() - begin


async def _start_through_spec(installed: _Installed) -> float:
    begin = time.perf_counter()
    manager, client = await _started(installed)
    try:
        # Not wait_for_ready, in which jupyter_client waits longer than the kernel needs.
        request = client.execute("1+1")
        reply = await client.get_shell_msg(timeout=TIMEOUT_SECONDS)
        while reply["parent_header"].get("msg_id") != request:
            reply = await client.get_shell_msg(timeout=TIMEOUT_SECONDS)
        return time.perf_counter() - begin
    finally:
        client.stop_channels()
        await manager.shutdown_kernel()


async def _executions(samples: Samples, sides: tuple[tuple[str, _Side], ...]) -> None:
    for _ in range(ROUNDS):
        for who, side in sides:
            for _ in range(UNCOUNTED_ROUND_TRIPS):
                await side.execute("1+1")
            for _ in range(ROUND_TRIPS):
                samples["client_round_trip"][who] += [await _seconds(side, "1+1", 0)]
    for _ in range(BULK_ROUNDS):
        for who, side in sides:
            samples["client_bulk"][who] += [await _seconds(side, _BULK, BULK_MESSAGES)]


async def _seconds(side: _Side, code: str, outputs: int) -> float:
    begin = time.perf_counter()
    count = await side.execute(code)
    seconds = time.perf_counter() - begin
    if count != outputs:
        raise ConnectionError(f"{count} outputs came, not {outputs}")
    return seconds
