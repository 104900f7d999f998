"""A stand-in for the gateway's side of the communication port, version 2: any command, and its reply."""

import asyncio
import base64
import contextlib

from gateway_provisioners.handshake import payload
from kernel_launcher import wire
from timeouts import within_timeout


@contextlib.asynccontextmanager
async def connection(host, port, **options):
    """Open a connection; yields its reader and writer."""
    reader, writer = await asyncio.open_connection(host, port, **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def connected(endpoint):
    """Open a connection to the communication port; yields its reader and writer."""
    return connection(endpoint.ip, endpoint.port)


async def read(coroutine):
    """Return what a reader's coroutine gives, or nothing if the connection is reset."""
    with contextlib.suppress(ConnectionResetError):
        return await within_timeout(coroutine)
    return b""


async def command(endpoint, content):
    """Send a command; returns the launcher's reply."""
    async with connected(endpoint) as (reader, writer):
        challenge = payload.parse_challenge(await within_timeout(reader.readline()))
        key = endpoint.launch_key, endpoint.kernel_id, challenge
        writer.write(payload.seal_command(content, *key))
        return payload.open_reply(await within_timeout(reader.readline()), *key)


async def refuses_replies(endpoint):
    """Return whether it refuses a reply of its own as a command, sealed for the very connection."""
    key = wire.LaunchKey(base64.b64decode(endpoint.launch_key), endpoint.kernel_id)
    async with connected(endpoint) as (reader, writer):
        challenge = payload.parse_challenge(await read(reader.readline()))
        writer.write(key.reply({"signum": 9}, challenge))
        return await read(reader.read()) == b""
