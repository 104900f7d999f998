"""Commands to a kernel's launcher, over its communication port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners.aio import within
from gateway_provisioners.errors import CommandFailed, ProtocolError
from gateway_provisioners.handshake import payload
from gateway_provisioners.model.addresses import in_url
from gateway_provisioners.model.usage import Usage

MAX_LINE = 4096


@dataclass(frozen=True)
class CommandEndpoint:
    """A launcher's communication port.

    Attributes:
        ip: the address of the kernel's pod or container.
        launch_key: seals commands for a launcher of protocol version 2; None for version 1.
    """

    ip: str
    port: int
    kernel_id: str
    launch_key: str | None = field(repr=False)


async def send_signal(endpoint: CommandEndpoint, signum: int, *, timeout: float = 5.0) -> None:
    """Signal a kernel and what it started; signal 0 asks whether it lives.

    Args:
        endpoint: the kernel's launcher.
        signum: signal number.
        timeout: seconds for the whole exchange.

    Raises:
        CommandFailed: the launcher cannot be reached or, with version 2, replies that it failed;
            launchers of version 1 do not reply.
    """
    reply = await _command(endpoint, {"signum": signum}, timeout)
    if endpoint.launch_key is not None and reply.get("ok") is not True:
        raise CommandFailed(f"kernel {endpoint.kernel_id} was not signalled: {reply.get('error')}")


async def ask_usage(endpoint: CommandEndpoint, *, timeout: float = 1.0) -> Usage:
    """Ask a launcher with the feature `usage` for the memory and CPU time that its kernel uses.

    Args:
        endpoint: the kernel's launcher.
        timeout: seconds for the whole exchange.

    Raises:
        CommandFailed: the launcher cannot be reached, or does not know.
    """
    reply = await _command(endpoint, {"usage": 1}, timeout)
    cause = reply.get("error")
    if reply.get("ok") is True:
        try:
            return Usage.from_json(reply.get("usage"))
        except ProtocolError as error:
            cause = error
    raise CommandFailed(f"the launcher of kernel {endpoint.kernel_id} did not report it: {cause}")


async def _command(
    endpoint: CommandEndpoint, command: Mapping[str, Any], timeout: float
) -> Mapping[str, Any]:
    """Send a command; return the reply, which is empty from launchers of version 1.

    Raises:
        CommandFailed: the launcher cannot be reached, or does not speak the protocol.
    """
    where = f"the launcher of kernel {endpoint.kernel_id} at {in_url(endpoint.ip)}:{endpoint.port}"
    try:
        return await within(timeout, _exchange(endpoint, command))
    except asyncio.TimeoutError as error:
        raise CommandFailed(f"{where} did not answer within {timeout:g} s") from error
    except OSError as error:
        raise CommandFailed(f"{where} cannot be reached: {error.strerror or error}") from error
    except ProtocolError as error:
        raise CommandFailed(f"{where} does not speak the protocol: {error}") from error


async def _exchange(endpoint: CommandEndpoint, command: Mapping[str, Any]) -> Mapping[str, Any]:
    reader, writer = await asyncio.open_connection(endpoint.ip, endpoint.port, limit=MAX_LINE)
    try:
        if endpoint.launch_key is None:
            writer.write(json.dumps(command).encode())
            writer.write_eof()
            await reader.read(1)  # the end of the stream: the launcher has read the command
            return {}
        kernel_id, launch_key = endpoint.kernel_id, endpoint.launch_key
        challenge = payload.parse_challenge(await _line(reader))
        writer.write(payload.seal_command(command, launch_key, kernel_id, challenge))
        return payload.open_reply(await _line(reader), launch_key, kernel_id, challenge)
    finally:
        writer.close()


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise ProtocolError("the line is too long") from error
    except asyncio.IncompleteReadError as error:
        raise ProtocolError("the connection was closed") from error
