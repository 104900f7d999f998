"""A stand-in for the gateway's side of the communication port, version 2: any command, and its reply."""

import asyncio

from launched import GUARD

from gateway_provisioners.handshake import payload


async def command(endpoint, content):
    """Send a command; returns the launcher's reply."""
    reader, writer = await asyncio.open_connection(endpoint.ip, endpoint.port)
    try:
        challenge = payload.parse_challenge(await asyncio.wait_for(reader.readline(), GUARD))
        key = endpoint.launch_key, endpoint.kernel_id, challenge
        writer.write(payload.seal_command(content, *key))
        return payload.open_reply(await asyncio.wait_for(reader.readline(), GUARD), *key)
    finally:
        writer.close()
