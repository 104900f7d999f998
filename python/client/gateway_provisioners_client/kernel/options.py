"""The arguments of the program, and what it takes from its environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass

from gateway_provisioners_client.errors import ConfigurationError
from gateway_provisioners_client.gateway.config import GatewayConfig, add_options

# Names a kernel that runs at the gateway already: the program connects to it instead of starting one.
ATTACH = "GATEWAY_KERNEL_ATTACH"

# A program that dies with its machine leaves no sign. Long enough for a laptop that sleeps over a weekend.
_ORPHAN_SECONDS = 3 * 24 * 60 * 60

# Of the process that runs this program, and not for the kernel.
_OWN = {"KERNEL_ID"}


@dataclass(frozen=True)
class Options:
    """The task of the program.

    Attributes:
        connection_file: Jupyter's, with the addresses that it binds.
        kernel_name: of the kernelspec at the gateway.
        config: the gateway; None if it is not usable, which `problem` says.
        problem: a sentence for the user; or "".
        shows_progress: answer for a kernel that starts, and show the steps of the start in the first cell.
        pass_env: names of variables to pass on, besides all KERNEL_*.
        attach: the id of a kernel that runs; "" to start one.
    """

    connection_file: str
    kernel_name: str
    config: GatewayConfig | None
    problem: str = ""
    shows_progress: bool = True
    pass_env: tuple[str, ...] = ()
    attach: str = ""

    def kernel_env(self) -> dict[str, str]:
        """Return the variables of the kernel, from this program's environment."""
        env = {
            name: value
            for name, value in os.environ.items()
            if (name.startswith("KERNEL_") and name not in _OWN) or name in self.pass_env
        }
        env.setdefault("KERNEL_ORPHAN_TIMEOUT", str(_ORPHAN_SECONDS))
        return env


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Return the options; arguments of clients that mean ipykernel's are ignored."""
    parser = argparse.ArgumentParser(
        prog="gateway-kernel",
        description="A kernel of a gateway for Jupyter clients of this machine. They start it themselves; "
        "`jupyter gateway-spec install` makes the kernelspec that says how.",
        allow_abbrev=False,
    )
    parser.add_argument("connection_file", metavar="CONNECTION_FILE")
    parser.add_argument("--kernel", required=True, metavar="NAME", help="its name at the gateway")
    parser.add_argument(
        "--pass-env",
        action="append",
        default=[],
        metavar="NAME",
        help="a variable to pass on to the kernel, besides KERNEL_*; can be repeated",
    )
    parser.add_argument(
        "--no-progress",
        action="store_true",
        help="show no steps of the start in the first cell, and answer only once the kernel is up",
    )
    add_options(parser)
    parsed, _ = parser.parse_known_args(arguments)
    config, problem = None, ""
    try:
        config = GatewayConfig.from_options(parsed)
    except ConfigurationError as error:
        problem = str(error)
    return Options(
        parsed.connection_file,
        parsed.kernel,
        config,
        problem,
        shows_progress=not parsed.no_progress,
        pass_env=tuple(parsed.pass_env),
        attach=os.environ.get(ATTACH, ""),
    )
