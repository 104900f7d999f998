"""The content of a kernelspec for a gateway's kernel: pure data, without files and requests."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners_client._version import __version__
from gateway_provisioners_client.errors import ConfigurationError
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.specs import RemoteKernelSpec

KEY = "gateway_provisioners_client"
"""The key of a kernelspec's metadata that says that it is one of ours."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Environment:
    """The variables that kernels get.

    Attributes:
        values: those with a value in the kernelspec.
        names: those that have their value from the environment of the client that starts the kernel.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] = ()


def environment_of(assignments: Sequence[str], sizes: Mapping[str, str]) -> Environment:
    """Return the variables of `--env NAME=VALUE`, `--env NAME` and of the options for sizes.

    Raises:
        ConfigurationError: a name is not one of a variable, or a value has line breaks. No value is repeated.
    """
    values = dict(sizes)
    names = []
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not _VARIABLE.fullmatch(name):
            raise ConfigurationError(
                "--env must have the form NAME=VALUE, or NAME for a variable of the environment in which the "
                "kernel is started; a name has letters, digits and _ only."
            )
        if equals:
            values[name] = value
        else:
            names.append(name)
    for name, value in values.items():
        if "\0" in value:
            raise ConfigurationError(
                f"The value of {name} has a character that no variable can hold."
            )
    return Environment(values, tuple(name for name in dict.fromkeys(names) if name not in values))


def kernel_json(
    remote: RemoteKernelSpec,
    config: GatewayConfig,
    environment: Environment,
    *,
    python: str = sys.executable,
) -> dict[str, Any]:
    """Return the content of `kernel.json` for one kernel of a gateway.

    Raises:
        ConfigurationError: the configuration holds a secret.
    """
    # KERNEL_* are passed on by the kernel program anyway.
    passed = [
        *(name for name in environment.values if not name.startswith("KERNEL_")),
        *environment.names,
    ]
    return {
        "argv": [
            python,
            "-m",
            "gateway_provisioners_client.kernel",
            "{connection_file}",
            f"--kernel={remote.name}",
            *config.to_options(),
            *(f"--pass-env={name}" for name in passed),
        ],
        "display_name": f"{remote.display_name} ({config.name})",
        "language": remote.language,
        "interrupt_mode": "message",
        # jupyter_client replaces $NAME and ${NAME} in these values.
        "env": {name: value.replace("$", "$$") for name, value in environment.values.items()},
        "metadata": {
            "debugger": remote.has_debugger,
            KEY: {
                "gateway": config.name,
                "url": config.url,
                "kernel": remote.name,
                "version": __version__,
            },
        },
    }


@dataclass(frozen=True)
class Origin:
    """The origin of an installed kernelspec: which kernel of which gateway it is."""

    gateway: str
    url: str
    kernel: str


def origin_of(content: bytes) -> Origin | None:
    """Return the origin that a `kernel.json` names; None if `jupyter gateway-spec` did not install it."""
    try:
        ours = json.loads(content)["metadata"][KEY]
        origin = Origin(ours["gateway"], ours["url"], ours["kernel"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    is_text = all(isinstance(text, str) for text in (origin.gateway, origin.url, origin.kernel))
    return origin if is_text else None


def choose_name(remote: str, config: GatewayConfig, is_taken: Callable[[str], bool]) -> str:
    """Return a name for the kernelspec: the gateway's own, or GATEWAY-KERNEL where that is taken here.

    Args:
        remote: the kernel's name at the gateway.
        is_taken: returns whether another kernelspec has a name, in lower case.
    """
    name = remote.lower()  # as jupyter_client looks for it
    gateway = _NOT_IN_A_NAME.sub("-", config.name.lower()).strip("-") or "gateway"
    longer = f"{gateway}-{name}"[:_LONGEST_NAME]
    number = 1
    chosen = name
    while is_taken(chosen):
        chosen = longer if number == 1 else f"{longer}-{number}"
        number += 1
    return chosen
