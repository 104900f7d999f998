"""Kernels of `jupyter-gateway` in containers and Swarm services, while that ends and starts again."""

import asyncio
import contextlib
import signal

import aiohttp
import pytest
from gateway_process import KERNEL, GatewayProcess

from cluster.gateway_client import Refused
from cluster.patience import patiently, until

BUSY_LOOP = "print('begun', flush=True)\nwhile True: pass"
SECRET = "a-value-that-no-log-may-hold"


@pytest.fixture(params=["docker-provisioner", "docker-swarm-provisioner"])
async def gateway(request, engine, tmp_path, unused_tcp_port):
    swarm = "swarm" in request.param
    network = request.getfixturevalue("swarm_network") if swarm else "bridge"
    process = GatewayProcess(
        engine, tmp_path, unused_tcp_port, request.param, GP_DOCKER_NETWORK=network
    )
    yield process
    await process.clean_up()


async def value_of(client, kernel_id, expression):
    """What an expression is in a kernel, as soon as that answers."""

    async def answer():
        with contextlib.suppress(Refused, aiohttp.ClientError, ConnectionError):
            async with client.channels(kernel_id) as kernel:
                return (await kernel.execute(f"print({expression})")).text.strip()

    return await patiently(until(answer))


async def start_with_x(client):
    kernel_id = await client.start(KERNEL, KERNEL_USERNAME="ada", KERNEL_SECRET=SECRET)
    async with client.channels(kernel_id) as kernel:
        await kernel.execute("x = 1")
    return kernel_id


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_kernels_outlive_the_gateway(gateway, number):
    async with gateway.running() as client:
        kernel_id = await start_with_x(client)
        before = gateway.records()[kernel_id]
        assert gateway.state_dir.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in gateway.state_dir.iterdir()} == {0o600}
        await gateway.end(number)
    async with gateway.running() as client:
        assert list(await client.kernels()) == [kernel_id]
        assert await value_of(client, kernel_id, "x") == "1"
        async with client.channels(kernel_id) as kernel:
            result = await kernel.execute(BUSY_LOOP, on_busy=lambda: client.interrupt(kernel_id))
            assert result.error == "KeyboardInterrupt"
        assert await value_of(client, kernel_id, "x") == "1"
        await client.restart(kernel_id)
        variables = "globals().get('x'), __import__('os').environ['KERNEL_SECRET']"
        assert await value_of(client, kernel_id, variables) == f"None {SECRET}"
        after = gateway.records()[kernel_id]
        assert after["started"] == before["started"]
        assert after["content"]["attempt"] == before["content"]["attempt"] + 1
        await client.delete(kernel_id)
        gateway.host.wait_gone()
        assert gateway.records() == {}
    log = gateway.log.read_text()
    assert "Traceback" not in log
    assert SECRET not in log
    assert before["content"]["launch_key"] not in log


async def test_when_a_kernel_was_in_use_is_known_after_a_stop(gateway):
    async with gateway.running() as client:
        kernel_id = await start_with_x(client)
        before = (await client.kernels())[kernel_id]["last_activity"]
        await gateway.end()
    assert gateway.records()[kernel_id]["last_activity"].startswith(before.removesuffix("Z"))


async def test_a_launch_that_was_cut_off_leaves_nothing(gateway):
    command = gateway.host.command("sleep", "600")
    gateway.add_kernelspec("silent", container_template=command, launch_timeout=600)
    async with gateway.running() as client:
        start = asyncio.create_task(client.start("silent"))

        async def is_there():
            return gateway.host.left()

        await patiently(until(is_there))
        await gateway.end(signal.SIGKILL)
        with pytest.raises(aiohttp.ClientError):
            await start
    async with gateway.running() as client:
        assert await client.kernels() == {}
        gateway.host.wait_gone()


async def test_a_restart_that_was_cut_off_loses_no_kernel(gateway):
    async with gateway.running() as client:
        kernel_id = await start_with_x(client)
        before = set(gateway.host.left())
        restart = asyncio.create_task(client.restart(kernel_id))

        async def is_gone():
            return not before & set(gateway.host.left())

        await patiently(until(is_gone))
        await gateway.end(signal.SIGKILL)
        with contextlib.suppress(aiohttp.ClientError):
            await restart
    async with gateway.running() as client:
        assert list(await client.kernels()) == [kernel_id]
        assert await value_of(client, kernel_id, "globals().get('x')") == "None"
        await client.delete(kernel_id)
        gateway.host.wait_gone()


async def test_a_kernel_that_died_meanwhile_is_started_anew(gateway, engine):
    async with gateway.running() as client:
        kernel_id = await start_with_x(client)
        await gateway.end()
    [container] = gateway.host.containers()
    engine.cli("kill", container["Id"])
    async with gateway.running() as client:
        assert list(await client.kernels()) == [kernel_id]
        assert await value_of(client, kernel_id, "globals().get('x')") == "None"


async def test_a_kernel_that_was_removed_meanwhile_is_forgotten(gateway):
    async with gateway.running() as client:
        await start_with_x(client)
        await gateway.end()
    gateway.host.remove_all()
    async with gateway.running() as client:
        assert await client.kernels() == {}
        assert gateway.records() == {}


async def test_without_a_state_dir_kernels_end_with_the_gateway(gateway):
    gateway.environment["GP_STATE_DIR"] = ""
    async with gateway.running() as client:
        await start_with_x(client)
        await gateway.end()
    gateway.host.wait_gone()
