"""The kernels of gateway kernelspecs, as their arguments and their programs' state files describe them.

The file says which kernel it is; the gateway, with the command for its token, is taken from the kernelspec.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from gateway_provisioners_client.errors import ConfigurationError
from gateway_provisioners_client.gateway.config import GatewayConfig, add_options

KERNEL_PROGRAM = "gateway_provisioners_client.kernel"
_LONGEST_FILE = 256 * 1024
_READING = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True)
class LocalKernel:
    """A kernel at a gateway, as the program of the local kernel describes it.

    Attributes:
        kernel_id: at the gateway; "" before there is one.
        is_starting: True until the kernel is up or has failed.
        step: of its last start.
        owner: another one for each process.
    """

    kernel_id: str = ""
    is_starting: bool = True
    step: dict[str, Any] = field(default_factory=dict)
    owner: str = ""


def state_of(connection_file: str) -> LocalKernel | None:
    """Read the state file of a local kernel, in a thread; None if the kernel is not one of a gateway."""
    try:
        # Not what a link names, and no waiting for the writer of a pipe.
        with os.fdopen(os.open(f"{connection_file}.gateway.json", _READING), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            values = json.loads(file.read(_LONGEST_FILE))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    step = values.get("step")
    return LocalKernel(
        kernel_id=_text(values.get("kernel_id")),
        is_starting=values.get("starting") is not False,
        step=step if isinstance(step, dict) else {},
        owner=_text(values.get("owner")),
    )


def kernel_of_argv(argv: Sequence[str]) -> tuple[str, GatewayConfig] | None:
    """Return the kernel's name and the gateway of a kernelspec; None if it is not one of a gateway."""
    if KERNEL_PROGRAM not in argv:
        return None
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("connection_file")
    parser.add_argument("--kernel", default="")
    add_options(parser)
    try:
        options, _ = parser.parse_known_args(list(argv[argv.index(KERNEL_PROGRAM) + 1 :]))
        return options.kernel, GatewayConfig.from_options(options)
    except (ConfigurationError, ValueError):
        return None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise ValueError: argparse would end the Jupyter server."""
        raise ValueError(message)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
