"""Random clients, good and bad, at one gateway: its memory stays flat, and good clients miss nothing.

`make soak` takes an hour. GP_SOAK_SECONDS sets the time, and GP_SOAK_SEED repeats a run's choices.
"""

import asyncio
import contextlib
import os
import random
import time

import aiohttp
import pytest

from api.test_api_attacks_clients import connect, texts
from ci.local_gateway import gateway_process

SECONDS = float(os.environ.get("GP_SOAK_SECONDS", "120"))
SEED = int(os.environ.get("GP_SOAK_SEED", str(time.time_ns() % 10**6)))
# What Python and 0MQ keep after the first large messages.
WARM_UP_SHARE = 0.5
GROWTH_MEBIBYTES = 96
# As the chart counts: 128 MiB, the budget of 96 MiB, and 4 times the largest message.
MOST_MEBIBYTES = 352
SETTLE_SECONDS = 5
KERNELS = 4


class Crowd:
    """Clients that share some kernels; one more kernel is for the client that behaves."""

    def __init__(self, gateway, dice, kernel_ids):
        self._gateway = gateway
        self._dice = dice
        self._kernel_ids = kernel_ids

    async def once(self):
        """Be one of the clients, to its end."""
        kinds = (
            self.slow_reader,
            self.gone_reader,
            self.binary_output,
            self.huge_cell,
            self.garbage_frames,
            self.garbage_http,
            self.comes_back,
        )
        # A bad client's connection may end at any time.
        with contextlib.suppress(ConnectionError, OSError, aiohttp.ClientError):
            await asyncio.wait_for(self._dice.choice(kinds)(), 60)

    @contextlib.asynccontextmanager
    async def _client(self, session=""):
        kernel_id = self._dice.choice(self._kernel_ids)
        client = await connect(self._gateway, kernel_id, session or f"s{self._dice.random()}")
        try:
            yield client
        finally:
            client.abort()

    async def slow_reader(self):
        async with self._client() as client:
            await client.ask(f"print('x' * {self._dice.randrange(10**7)})")
            for _ in range(20):
                client.stop_reading()
                await asyncio.sleep(self._dice.random() / 10)
                client.read_on()
                await asyncio.sleep(0.01)
            await client.close()

    async def gone_reader(self):
        async with self._client() as client:
            client.stop_reading()
            await client.ask("for n in range(20): print('x' * 10**6)")
            await asyncio.sleep(self._dice.random())

    async def binary_output(self):
        code = (
            "kernel = get_ipython().kernel\n"
            "kernel.session.send(kernel.iopub_socket, 'display_data', {'data': {}, 'metadata': {}},"
            f"parent=kernel.get_parent(), buffers=[b'x' * {self._dice.randrange(4 * 10**7)}] * 2)"
        )
        async with self._client() as client:
            await client.ask(code)
            await asyncio.sleep(self._dice.random())
            await client.close()

    async def huge_cell(self):
        async with self._client() as client:
            await client.ask(f"'{'y' * self._dice.randrange(5 * 10**7)}'; None")
            await client.close()

    async def garbage_frames(self):
        size = self._dice.randrange(10_000)
        async with self._client() as client:
            await client._websocket.send_bytes(self._dice.randbytes(size))
            await client._websocket.send_str("{" * size)
            await client.close()

    async def garbage_http(self):
        _, writer = await asyncio.open_connection(*self._gateway.address)
        writer.write(self._dice.randbytes(self._dice.randrange(100_000)))
        await asyncio.sleep(self._dice.random() / 10)
        writer.close()

    async def comes_back(self):
        session = f"back{self._dice.randrange(3)}"
        for _ in range(3):
            async with self._client(session) as client:
                await client.ask("for n in range(100): print(n)")
                await asyncio.sleep(self._dice.random() / 5)


async def behave(client, until):
    """Execute cell after cell; each has its output, in order, to its end."""
    count = 0
    while time.monotonic() < until:
        request = await client.ask(f"for n in range(50): print({count}, n)")
        text = texts(await client.messages_of(request))
        assert text == "".join(f"{count} {n}\n" for n in range(50))
        count += 1
    return count


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
async def test_random_clients_leave_the_memory_flat(tmp_path, record_property):
    record_property("seed", SEED)
    dice = random.Random(SEED)
    async with gateway_process(tmp_path) as gateway:
        kernel_ids = [await gateway.client.start("launched") for _ in range(KERNELS)]
        crowd = Crowd(gateway, dice, kernel_ids)
        good = await connect(gateway, await gateway.client.start("launched"), "good")
        begin = time.monotonic()
        behaving = asyncio.create_task(behave(good, begin + SECONDS))

        async def others():
            while not behaving.done():
                await crowd.once()

        crowds = [asyncio.create_task(others()) for _ in range(4)]
        await asyncio.wait([behaving, *crowds], timeout=SECONDS * WARM_UP_SHARE)
        warm = gateway.mebibytes()
        assert await behaving, f"seed {SEED}"
        await asyncio.gather(*crowds)
        await asyncio.sleep(SETTLE_SECONDS)  # connections that were cut may take so long
        assert gateway.peak() < MOST_MEBIBYTES, f"seed {SEED}"
        grown = gateway.mebibytes() - warm
        assert grown < GROWTH_MEBIBYTES, f"seed {SEED}: {warm} MiB, and {grown} more"
        assert "Traceback" not in gateway.log(), f"seed {SEED}"
