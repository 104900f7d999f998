"""A gateway under load: clients that do not read, bulk output, many kernels, greedy readers.

The gateway is a process of its own on this machine, and so are its kernels, which the real launcher starts:
no cluster is needed. Kernels take the same cores as the gateway here, which they do not in a cluster. So
those that only make load have the lowest priority, and the round trip beside clients that do not read is
measured when their kernels have said what they say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from ci.bench import fake_kernels
from ci.bench.background import to_background
from ci.bench.measure import Samples, no_samples
from ci.bench.v1_frames import V1, execute_request, to_v1
from ci.gateway_access import jupyter_server
from ci.gateway_client import Channels, Gateway
from ci.local_gateway import GatewayProcess, gateway_process
from ci.progress import step

OLDER = "older"
SILENT_CLIENTS = 50
MEGABYTES_TO_BE_STUCK = 4
MEGABYTES_EACH = 100
BULK_MESSAGES = 60
BULK_ROUNDS = 15
KERNELS, WEBSOCKETS = 1000, 300
GREEDY_READERS = 10
UNCOUNTED_ROUND_TRIPS = 20
ROUND_TRIPS = 500
OPENED_AT_ONCE = 20
IDLE_SECONDS = 10.0
SETTLE_SECONDS = 5.0

_BULK = """
from IPython.display import publish_display_data
for n in range({count}): publish_display_data({{"text/plain": "x" * 1_000_000}})
"""
_TO_BACKGROUND = """
import os
from ci.bench.background import to_background
to_background(os.getpid(), os.getppid())  # the kernel and its launcher
"""
_ENDLESS = """
from IPython.display import publish_display_data
while True: publish_display_data({"text/plain": "x" * 100_000})
"""


async def measure() -> Samples:
    """Take all measurements."""
    samples = no_samples()
    for title, take in (
        (f"{SILENT_CLIENTS} clients that do not read", _silent_clients),
        ("Bulk output", _bulk),
        (f"{KERNELS} kernels, {WEBSOCKETS} websockets", _many_kernels),
        (f"{GREEDY_READERS} greedy readers", _greedy_readers),
    ):
        with step(title):
            await take(samples)
    return samples


@contextlib.asynccontextmanager
async def _gateway(**settings: str) -> AsyncIterator[GatewayProcess]:
    with TemporaryDirectory() as folder:
        async with gateway_process(Path(folder), **settings) as gateway:
            yield gateway


async def _round_trips(gateway: GatewayProcess, kernel_id: str) -> list[float]:
    """Return the seconds of each round trip, on a connection of its own."""
    async with gateway.client.channels(kernel_id) as channels:
        for _ in range(UNCOUNTED_ROUND_TRIPS):
            await channels.execute("1+1")
        return [(await channels.execute("1+1")).seconds for _ in range(ROUND_TRIPS)]


async def _ask(websocket: aiohttp.ClientWebSocketResponse[bool], code: str) -> None:
    await Channels(websocket).send("shell", "execute_request", {"code": code, "silent": False})


@contextlib.asynccontextmanager
async def _websockets(
    gateway: Gateway, url: str, count: int, kernel: Callable[[int], Awaitable[str]]
) -> AsyncIterator[list[aiohttp.ClientWebSocketResponse[bool]]]:
    async with contextlib.AsyncExitStack() as stack:
        turn = asyncio.Semaphore(OPENED_AT_ONCE)

        async def opened(number: int) -> aiohttp.ClientWebSocketResponse[bool]:
            async with turn:
                path = f"{url}/api/kernels/{await kernel(number)}/channels?session_id=s{number}"
                websocket = await gateway._session.ws_connect(path, max_msg_size=0)
            # Not an orderly close: that would wait for clients that do not read.
            stack.callback(_transport(websocket).abort)
            return websocket

        yield await asyncio.gather(*map(opened, range(count)))


def _transport(websocket: aiohttp.ClientWebSocketResponse[bool]) -> asyncio.Transport:
    transport: asyncio.Transport = websocket._response.connection.transport  # type: ignore[union-attr,assignment]
    return transport


async def _silent_clients(samples: Samples) -> None:
    async with _gateway() as gateway:
        other = await gateway.client.start("launched")
        samples["load_round_trip"]["idle"] += await _round_trips(gateway, other)

        async def new_kernel(_number: int) -> str:
            return await gateway.client.start("launched")

        async with _websockets(gateway.client, gateway.url, SILENT_CLIENTS, new_kernel) as clients:
            for client in clients:
                _transport(client).pause_reading()
            # All of them are stuck before the first is sent away.
            await _say(gateway, clients, MEGABYTES_TO_BE_STUCK)
            samples["load_round_trip"]["silent_clients"] += await _round_trips(gateway, other)
            await _say(gateway, clients, MEGABYTES_EACH)
        samples["load_memory"]["silent_clients"] += [gateway.peak() * 2**20]


async def _say(
    gateway: GatewayProcess,
    clients: Sequence[aiohttp.ClientWebSocketResponse[bool]],
    megabytes: int,
) -> None:
    """Have all kernels say so much, and wait until they have."""
    for client in clients:
        await _ask(client, _BULK.format(count=megabytes))
    states = {"busy"}
    while "busy" in states:
        await asyncio.sleep(1)
        kernels = await gateway.client.kernels()
        states = {each["execution_state"] for each in kernels.values()}


async def _bulk(samples: Samples) -> None:
    with jupyter_server() as url:
        async with _gateway() as gateway, Gateway(url, "") as server:
            ours = await gateway.client.start("launched")
            theirs = await server.start("python3")
            sides = (("ours", gateway.client, ours), ("local", server, theirs))
            for _ in range(BULK_ROUNDS):
                for who, client, kernel_id in sides:
                    for name, protocol in (("bulk_v1", V1), ("bulk_older", OLDER)):
                        samples[name][who] += [await _bulk_seconds(client, kernel_id, protocol)]
            await server.delete(theirs)


async def _bulk_seconds(client: Gateway, kernel_id: str, protocol: str) -> float:
    """Return the seconds until a client has all messages of a cell."""
    url = f"{client.url}/api/kernels/{kernel_id}/channels"
    protocols = [V1] if protocol == V1 else []
    async with client._session.ws_connect(url, protocols=protocols, max_msg_size=0) as websocket:
        message_id = secrets.token_hex(8)
        request = execute_request(message_id, _BULK.format(count=BULK_MESSAGES))
        begin = time.perf_counter()
        if protocol == V1:
            await websocket.send_bytes(to_v1(request))
        else:
            await websocket.send_json({**request, "channel": "shell", "buffers": []})
        count = 0
        while count < BULK_MESSAGES:
            message = await websocket.receive()
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                raise ConnectionError(f"the websocket was closed: {message}")
            count += len(message.data) > 1_000_000
        return time.perf_counter() - begin


async def _many_kernels(samples: Samples) -> None:
    async with fake_kernels.running("127.0.0.1", KERNELS) as infos:
        with TemporaryDirectory() as folder:
            file = Path(folder, "infos.json")
            file.write_text(json.dumps([info.to_json() for info in infos]))  # noqa: ASYNC240
            async with _gateway(FAKE_KERNELS=str(file)) as gateway:
                await _beside_many_kernels(samples, gateway)


async def _beside_many_kernels(samples: Samples, gateway: GatewayProcess) -> None:
    one = await gateway.client.start("launched")
    samples["many_round_trip"]["one_kernel"] += await _round_trips(gateway, one)
    ids = [await gateway.client.start("fake") for _ in range(KERNELS)]

    async def existing(number: int) -> str:
        return ids[number]

    async with _websockets(gateway.client, gateway.url, WEBSOCKETS, existing) as clients:
        reading = [asyncio.create_task(_read(client)) for client in clients]
        await asyncio.sleep(SETTLE_SECONDS)
        before = _cpu_seconds(gateway.process.pid)
        await asyncio.sleep(IDLE_SECONDS)
        used = _cpu_seconds(gateway.process.pid) - before
        samples["many_cpu"]["ours"] += [used / IDLE_SECONDS]
        samples["many_round_trip"]["many_kernels"] += await _round_trips(gateway, one)
        samples["load_memory"]["many_kernels"] += [gateway.mebibytes() * 2**20]
        for task in reading:
            task.cancel()


async def _read(client: aiohttp.ClientWebSocketResponse[bool]) -> None:
    async for _ in client:
        pass


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _greedy_readers(samples: Samples) -> None:
    async with _gateway() as gateway:
        other = await gateway.client.start("launched")
        samples["greedy_round_trip"]["idle"] += await _round_trips(gateway, other)
        kernel_ids = [await gateway.client.start("launched") for _ in range(GREEDY_READERS)]
        # Their reading must not keep the event loop that measures.
        readers = multiprocessing.get_context("spawn").Process(
            target=_read_forever, args=(gateway.url, gateway.client.token, kernel_ids)
        )
        readers.start()
        try:
            await asyncio.sleep(SETTLE_SECONDS)
            samples["greedy_round_trip"]["greedy_readers"] += await _round_trips(gateway, other)
        finally:
            readers.terminate()
            readers.join()


def _read_forever(url: str, token: str, kernel_ids: Sequence[str]) -> None:
    os.setsid()
    to_background(os.getpid())

    async def read() -> None:
        async def existing(number: int) -> str:
            return kernel_ids[number]

        count = len(kernel_ids)
        async with (
            Gateway(url, token) as client,
            _websockets(client, url, count, existing) as opened,
        ):
            for websocket in opened:
                await _ask(websocket, _TO_BACKGROUND + _ENDLESS)
            await asyncio.gather(*map(_read, opened))

    asyncio.run(read())
