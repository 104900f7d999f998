"""The life cycle of a kernel, as a client of the gateway sees it."""

import asyncio

import pytest

from ci.gateway_client import Refused


async def test_a_kernel_from_start_to_deletion(gateway):
    kernel_id = await gateway.client.start("local")
    assert (await gateway.client.kernels())[kernel_id]["name"] == "local"
    async with gateway.client.channels(kernel_id) as channels:
        result = await channels.execute("x = 20; x + 1")
        assert result.data[0]["text/plain"] == "21"
    await gateway.client.delete(kernel_id)
    assert await gateway.client.kernels() == {}
    with pytest.raises(Refused) as refused:
        await gateway.client.request("GET", f"/api/kernels/{kernel_id}")
    assert refused.value.status == 404
    assert kernel_id in refused.value.message


async def test_an_interrupt_ends_a_busy_loop(gateway):
    async with gateway.client.kernel("local") as channels:
        result = await channels.execute(
            "print(1)\nwhile True: pass",
            on_busy=lambda: gateway.client.interrupt(channels.kernel_id),
        )
        assert result.error == "KeyboardInterrupt"


async def test_a_kernel_asks_its_user(gateway):
    async with gateway.client.kernel("local") as channels:
        result = await channels.execute("print(input('name? '))", answer="alice")
        assert result.text == "alice\n"


async def test_a_restart_keeps_the_id_and_loses_the_variables(gateway):
    async with gateway.client.kernel("local") as channels:
        await channels.execute("x = 1")
        model = await gateway.client.restart(channels.kernel_id)
        assert model["id"] == channels.kernel_id
        # Anew: a local kernel keeps its ports, and a connection that stays may miss its first output.
        async with gateway.client.channels(channels.kernel_id) as anew:
            assert (await anew.execute("x")).error == "NameError"


async def test_twenty_kernels_start_at_the_same_time(gateway):
    kernel_ids = await asyncio.gather(*(gateway.client.start("local") for _ in range(20)))
    assert set(await gateway.client.kernels()) == set(kernel_ids)

    async def execute(number, kernel_id):
        async with gateway.client.channels(kernel_id) as channels:
            return (await channels.execute(f"print({number})")).text

    answers = await asyncio.gather(*(execute(n, k) for n, k in enumerate(kernel_ids)))
    assert answers == [f"{number}\n" for number in range(20)]
