"""The Python launcher under another gateway, which knows only version 1: reference_v1."""

import asyncio
import contextlib
import signal
import socket

import pytest
import reference_v1
from launched import GUARD, KERNEL_ID, client_of, has_ended, launched, run, start_busy, value

from gateway_provisioners.handshake.command_client import CommandEndpoint, send_signal


@contextlib.asynccontextmanager
async def launch_v1(tmp_path, gateway, *arguments, **variables):
    with launched(
        tmp_path,
        gateway.response_address,
        gateway.public_key,
        arguments=arguments,
        **variables,
    ) as kernel:
        kernel.info = await asyncio.to_thread(gateway.connection_info)
        yield kernel


@pytest.mark.parametrize("bits", [1024, 2048])
async def test_reports_and_executes(tmp_path, bits):
    with reference_v1.GatewayV1(bits) as gateway:
        async with launch_v1(tmp_path, gateway) as kernel:
            info = kernel.info
            assert info["kernel_id"] == KERNEL_ID
            assert info["ip"] == "0.0.0.0"
            assert info["pgid"] == info["pid"]
            assert "curve_publickey" not in info
            async with client_of(info) as client:
                assert await value(client, "6 * 7") == "42"
                await client.shutdown(reply=True, timeout=GUARD)
            assert await kernel.exit_code() == 0


async def test_encrypts_the_channels_when_the_gateway_requires_it(tmp_path, gateway_v1):
    arguments = ("--transport-encryption", "required")
    async with launch_v1(tmp_path, gateway_v1, *arguments) as kernel:
        assert len(kernel.info["curve_publickey"]) == len(kernel.info["curve_secretkey"]) == 40
        async with client_of(kernel.info) as client:
            assert await value(client, "1 + 1") == "2"


@pytest.mark.parametrize("placeholder", ["{transport_encryption}", ""])
async def test_an_older_gateways_placeholder_means_no_encryption(tmp_path, gateway_v1, placeholder):
    arguments = ("--transport-encryption", placeholder)
    async with launch_v1(tmp_path, gateway_v1, *arguments) as kernel:
        assert "curve_publickey" not in kernel.info


async def test_takes_enterprise_gateways_names(tmp_path, gateway_v1):
    arguments = ("--RemoteProcessProxy.port-range", "23000..24500", "--cluster-type", "none")
    async with launch_v1(tmp_path, gateway_v1, *arguments) as kernel:
        assert 23000 <= kernel.info["comm_port"] <= 24500


async def test_commands(tmp_path, gateway_v1):
    async with launch_v1(tmp_path, gateway_v1) as kernel, client_of(kernel.info) as client:
        port = kernel.info["comm_port"]
        await run(client, "kept = 1")
        looping = await start_busy(client, "busy()\nwhile True: pass")
        for garbage in ([], "text", {"signum": "2"}, {}):
            assert await asyncio.to_thread(reference_v1.command, port, garbage) == b""
        # A connection that sends nothing and one that does not end delay no other.
        with socket.create_connection(("127.0.0.1", port)) as silent:
            await asyncio.to_thread(reference_v1.command, port, {"signum": 0})
            silent.sendall(b'{"signum"')
            await asyncio.to_thread(reference_v1.command, port, {"signum": 2}, half_close=False)
            reply, _ = await asyncio.wait_for(looping, GUARD)
        assert reply["ename"] == "KeyboardInterrupt"
        assert await value(client, "kept") == "1"
        # Our own client, which speaks version 1 to a launch without a key.
        endpoint = CommandEndpoint("127.0.0.1", port, KERNEL_ID, None)
        await send_signal(endpoint, 0)
        reference_v1.command(port, {"shutdown": 1})
        with pytest.raises(ConnectionRefusedError):
            reference_v1.command(port, {"signum": 0})
        assert await value(client, "kept") == "1"


async def test_kill(tmp_path, gateway_v1):
    async with launch_v1(tmp_path, gateway_v1) as kernel:
        reference_v1.command(kernel.info["comm_port"], {"signum": 9})
        assert await kernel.exit_code() == 128 + signal.SIGKILL
        assert await has_ended(kernel.info["pid"])


async def test_our_gateway_takes_a_v1_launch(tmp_path, server):
    """The other way round: no launch key reached the launcher; the arrival says so."""
    with (
        server.expect(KERNEL_ID, None) as expectation,
        launched(tmp_path, server.response_address, server.public_key),
    ):
        arrival = await asyncio.wait_for(expectation.next_arrival(), GUARD)
        assert (arrival.protocol, arrival.peer_ip) == (1, "127.0.0.1")
        assert arrival.connection_info.protocol == 1
        async with client_of(arrival.connection_info.to_jupyter()) as client:
            assert await value(client, "1 + 1") == "2"
