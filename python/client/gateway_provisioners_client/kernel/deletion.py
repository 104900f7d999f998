"""The deletion of a kernel whose program has ended without a word.

`{"kernel_id", "grace", "repeat"}` says which: it is deleted after `grace` seconds, unless the next program of
the same connection file has taken it over.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from typing import Any
from urllib.parse import urlsplit

from gateway_provisioners_client.gateway.config import GatewayConfig, add_options
from gateway_provisioners_client.kernel import state_file

# A gateway that cannot be reached is asked again; KERNEL_ORPHAN_TIMEOUT ends the kernel if it stays so.
_PAUSES = (1, 2, 4, 8, 15, 30, 60, 60, 120, 300)


def main() -> None:
    """Do what the program asked for last."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--last", required=True)
    parser.add_argument("--state", required=True)
    parser.add_argument("--owner", required=True)
    add_options(parser)
    parsed = parser.parse_args()
    config = GatewayConfig.from_options(parsed)
    last: dict[str, Any] = json.loads(parsed.last)
    until = time.monotonic() + last["grace"]
    # Two programs that do not know each other: the file is all that they share.
    while time.monotonic() < until:
        if state_file.read(parsed.state).get("owner") != parsed.owner:
            return  # taken over
        time.sleep(0.5)
    if last["grace"] and not state_file.claim(parsed.state, parsed.owner):
        return
    _delete(config, last["kernel_id"], repeat=last["repeat"])


def _delete(config: GatewayConfig, kernel_id: str, *, repeat: bool) -> None:
    # Only now: while it waits for a program that may take over, it should need little memory.
    import asyncio

    from gateway_provisioners_client.errors import ClientError
    from gateway_provisioners_client.gateway.api import GatewayApi

    async def delete() -> None:
        async with GatewayApi(config) as api:
            # A gateway of this machine has ended if it does not answer.
            pauses = _PAUSES[:3] if _is_of_this_machine(config) else _PAUSES
            for pause in (*pauses, None):
                with contextlib.suppress(ClientError):
                    await api.delete(kernel_id)
                    if not repeat:
                        return
                if pause is not None:
                    await asyncio.sleep(pause)

    asyncio.run(delete())


def _is_of_this_machine(config: GatewayConfig) -> bool:
    host = urlsplit(config.url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
