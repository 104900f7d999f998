"""The report of the kernel's connection info to the gateway."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kernel_launcher import wire
from kernel_launcher.errors import LAUNCH_FAILED, LaunchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_launcher.options import Options

SECONDS = 5.0
LONGEST_PAUSE = 2.0


def report(
    options: Options, key: wire.LaunchKey | wire.GatewayKey, info: Mapping[str, Any]
) -> None:
    """Send the kernel's connection info, with a bounded number of tries.

    Args:
        options: the response address, and how often to try.
        key: encrypts it for the gateway.
        info: the kernel's connection info.

    Raises:
        LaunchError: the gateway cannot be reached.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            _send(options, key, info)
        except OSError as error:
            if attempt == options.report_attempts:
                raise LaunchError(
                    LAUNCH_FAILED,
                    "the gateway cannot be reached at the response address"
                    f" {options.response_address} after {attempt} attempts:"
                    f" {error.strerror or error}",
                ) from error
            time.sleep(min(0.1 * 2**attempt, LONGEST_PAUSE))
        else:
            return


def _send(options: Options, key: wire.LaunchKey | wire.GatewayKey, info: Mapping[str, Any]) -> None:
    address = (options.response_host, options.response_port)
    with socket.create_connection(address, timeout=SECONDS) as sock:
        if isinstance(key, wire.LaunchKey):
            # The gateway can reach the kernel at the address that this connection comes from.
            info = {**info, "ip": sock.getsockname()[0]}
        sock.sendall(key.connection_info(info))
        sock.shutdown(socket.SHUT_WR)
        # A gateway without a free connection resets this one, and another try makes sense; a gateway
        # that is slow to close has the bytes nevertheless.
        with suppress(TimeoutError):
            sock.recv(1)
