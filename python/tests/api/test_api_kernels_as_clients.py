"""Connections from the addresses of kernels, which the gateway closes unless kernels may be its clients."""

import asyncio
import contextlib

import pytest

from api.running import TOKEN, running_gateway
from timeouts import within_timeout

KERNEL, USER = "127.0.0.9", "127.0.0.10"
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def connection(port, address):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(port, address, request=REQUEST):
    """Return what the gateway answers to a request from this address; nothing if it just closes."""
    async with connection(port, address) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            return await within_timeout(reader.read())
        return b""


def ports(gateway):
    return gateway.app.port, gateway.app.health_port


@pytest.mark.attack(18)
async def test_connections_of_kernels_are_closed_unread(gateway, caplog):
    gateway.app.kernel_addresses.report("kernel-1", [KERNEL, "fd00::9"])
    head = b"GET /api/kernels HTTP/1.1\r\nHost: x\r\nAuthorization: token "
    for port in ports(gateway):
        assert await answer(port, KERNEL) == b""
        assert await answer(port, KERNEL, head + TOKEN.encode() + b"\r\n\r\n") == b""
        assert (await answer(port, USER)).startswith(b"HTTP/1.1 200 ")
    assert f"Closed a connection of a kernel, from {KERNEL}" in caplog.text
    assert "GP_ALLOW_KERNELS" in caplog.text


async def test_address_of_a_kernel_that_is_gone_is_served(gateway):
    addresses = gateway.app.kernel_addresses
    addresses.report("kernel-1", [KERNEL])
    addresses.report("kernel-2", [KERNEL])  # it got the address of one whose end is reported later
    addresses.report("kernel-1", [])
    assert await answer(gateway.app.port, KERNEL) == b""
    addresses.report("kernel-2", [])
    assert (await answer(gateway.app.port, KERNEL)).startswith(b"HTTP/1.1 200 ")


async def test_connection_that_a_kernel_has_opened_early_is_closed(gateway):
    """The container of a pod runs before its address is known."""
    for port in ports(gateway):
        async with (
            connection(port, KERNEL) as (kernel, sent_by_kernel),
            connection(port, USER) as (user, sent_by_user),
        ):
            for writer in (sent_by_kernel, sent_by_user):
                writer.write(REQUEST.replace(b"Connection: close\r\n", b""))
            assert await within_timeout(kernel.readline()) == b"HTTP/1.1 200 OK\r\n"
            gateway.app.kernel_addresses.report("kernel-1", [KERNEL])
            with contextlib.suppress(ConnectionError):
                await within_timeout(kernel.read())
            sent_by_user.write(REQUEST)
            assert (await within_timeout(user.read())).count(b"HTTP/1.1 200 OK\r\n") == 2
        gateway.app.kernel_addresses.report("kernel-1", [])


async def test_websocket_that_a_kernel_has_opened_early_is_closed(gateway):
    kernel_id = await gateway.client.start("local")
    head = (
        f"GET /api/kernels/{kernel_id}/channels?token={TOKEN} HTTP/1.1\r\nHost: x\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with connection(gateway.app.port, KERNEL) as (reader, writer):
        writer.write(head.encode())
        assert (await within_timeout(reader.readline())).startswith(b"HTTP/1.1 101 ")
        gateway.app.kernel_addresses.report("kernel-1", [KERNEL])
        with contextlib.suppress(ConnectionError):
            await within_timeout(reader.read())


async def test_operator_can_let_kernels_be_clients(monkeypatch):
    monkeypatch.setenv("GP_ALLOW_KERNELS", "true")
    async with running_gateway() as gateway:
        gateway.app.kernel_addresses.report("kernel-1", [KERNEL])
        for port in ports(gateway):
            assert (await answer(port, KERNEL)).startswith(b"HTTP/1.1 200 ")
