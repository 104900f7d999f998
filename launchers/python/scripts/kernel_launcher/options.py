"""The launcher's command line, with the container's environment for options that it omits.

The options have the names that Gateway Provisioners' launchers and, with the prefix
`RemoteProcessProxy.`, Enterprise Gateway's launchers use.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from kernel_launcher.errors import BAD_PARAMETER, LaunchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_KERNEL_CLASS = "ipykernel.ipkernel.IPythonKernel"
INIT_MODES = ("none", "lazy", "eager")
# The feature of the wire protocol, offered by the gateway and then by this launcher.
FRESH_KEY = "fresh-key"
LAUNCH_KEY_BYTES = 32

# Removed before user code runs: keys, and variables that only concern the launcher.
PRIVATE_VARIABLES = (
    "KERNEL_LAUNCH_KEY",
    "PUBLIC_KEY",
    "EG_PUBLIC_KEY",
    "RESPONSE_ADDRESS",
    "EG_RESPONSE_ADDRESS",
    "JPY_PARENT_PID",
)


@dataclass(frozen=True)
class Options:
    """A launch, validated.

    Attributes:
        response_host: name or address of the gateway's response server.
        launch_key: this launch's secret (32 bytes); None under a gateway that speaks version 1.
        fresh_key_offered: whether the gateway accepts a fresh key in place of the launch key.
        port_range: lowest and highest port to use; (0, 0) leaves the choice to the system.
        transport_encryption: disabled, auto or required: CurveZMQ on the kernel's channels.
        mailbox_bytes: how much of the kernel's output is kept in memory for clients that are away.
        mailbox_disk_bytes: how much more is kept on disk.
        max_message_bytes: the largest message that the kernel may send.
        report_attempts: how often to try to reach the gateway before giving up.
    """

    kernel_id: str
    response_host: str
    response_port: int
    public_key: str
    launch_key: bytes | None = field(repr=False)
    fresh_key_offered: bool
    port_range: tuple[int, int]
    init_mode: str
    kernel_class_name: str
    transport_encryption: str
    mailbox_bytes: int
    mailbox_disk_bytes: int
    max_message_bytes: int
    report_attempts: int

    @property
    def response_address(self) -> str:
        """The response server's host:port, with brackets around an IPv6 address."""
        host = f"[{self.response_host}]" if ":" in self.response_host else self.response_host
        return f"{host}:{self.response_port}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise LaunchError(BAD_PARAMETER, message)


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Validate the launcher's command line.

    Raises:
        LaunchError: naming the option that is missing or malformed; values that could be secret
            are not quoted.
    """
    parser = _Parser(
        prog="launch_ipykernel.py", description="Start an IPython kernel.", allow_abbrev=False
    )

    def option(name: str, text: str, default: str = "", metavar: str | None = None) -> None:
        parser.add_argument(
            f"--{name}",
            f"--RemoteProcessProxy.{name}",
            dest=name.replace("-", "_"),
            default=default,
            help=text,
            metavar=metavar,
        )

    def variable(name: str, default: str = "") -> str:
        return environment.get(name) or environment.get(f"EG_{name}") or default

    option("kernel-id", "the kernel's UUID", variable("KERNEL_ID"))
    option(
        "response-address",
        "the gateway's address for the connection info",
        variable("RESPONSE_ADDRESS"),
        "HOST:PORT",
    )
    option("public-key", "the gateway's RSA public key, base64 of DER", variable("PUBLIC_KEY"))
    option(
        "port-range",
        "ports to use; 0..0 for any",
        variable("PORT_RANGE", "0..0"),
        "LOWEST..HIGHEST",
    )
    option(
        "spark-context-initialization-mode",
        "none, lazy (at first use of spark, sc or sql) or eager (before the kernel is ready)",
        environment.get("KERNEL_SPARK_CONTEXT_INIT_MODE") or "none",
    )
    option("cluster-type", "spark or none", "spark")
    option(
        "kernel-class-name",
        "a subclass of ipykernel.kernelbase.Kernel",
        environment.get("KERNEL_CLASS_NAME") or DEFAULT_KERNEL_CLASS,
    )
    option(
        "transport-encryption",
        "CurveZMQ on the kernel's channels: disabled, auto or required",
        environment.get("KERNEL_TRANSPORT_ENCRYPTION")
        or environment.get("TRANSPORT_ENCRYPTION")
        or "",
    )
    given = parser.parse_args(list(arguments))
    host, port = _address(given.response_address)
    launch_key = _launch_key(environment.get("KERNEL_LAUNCH_KEY"))
    if ":" in host and launch_key is None:  # without it, ipykernel itself listens
        raise LaunchError(
            BAD_PARAMETER,
            "--response-address (RESPONSE_ADDRESS) is an IPv6 address, and KERNEL_LAUNCH_KEY is missing:"
            " IPv6 needs version 2 of the wire protocol",
        )
    if given.cluster_type not in ("spark", "none"):
        raise LaunchError(BAD_PARAMETER, "--cluster-type must be one of: spark, none")
    init_mode = _choice("spark-context-initialization-mode", given, INIT_MODES)
    return Options(
        kernel_id=_kernel_id(given.kernel_id),
        response_host=host,
        response_port=port,
        public_key=_public_key(given.public_key, required=launch_key is None),
        launch_key=launch_key,
        fresh_key_offered=FRESH_KEY in environment.get("KERNEL_GATEWAY_FEATURES", "").split(","),
        port_range=_port_range(given.port_range, environment),
        init_mode="none" if given.cluster_type == "none" else init_mode,
        kernel_class_name=_class_name(given.kernel_class_name or DEFAULT_KERNEL_CLASS),
        transport_encryption=_transport_encryption(given, launch_key),
        mailbox_bytes=_bytes("KERNEL_MAILBOX_BYTES", environment, 8 * 2**20),
        mailbox_disk_bytes=_bytes("KERNEL_MAILBOX_DISK_BYTES", environment, 512 * 2**20),
        max_message_bytes=_bytes("KERNEL_MAX_MESSAGE_BYTES", environment, 32 * 2**20),
        report_attempts=_positive("RESPONSE_ATTEMPTS", environment, 10),
    )


def remove_private_variables() -> None:
    """Remove the launcher's own variables from the environment, before user code runs."""
    for name in PRIVATE_VARIABLES:
        os.environ.pop(name, None)


def _kernel_id(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?", value):
        raise LaunchError(
            BAD_PARAMETER, "--kernel-id (KERNEL_ID) is missing or not a valid kernel id"
        )
    return value


def _address(value: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9_.-]+)):([0-9]{1,5})", value)
    port = int(match[3]) if match else 0
    if not match or not 0 < port < 1 << 16:
        raise LaunchError(
            BAD_PARAMETER,
            "--response-address (RESPONSE_ADDRESS) is missing or not of the form host:port",
        )
    return match[1] or match[2], port


def _public_key(value: str, *, required: bool) -> str:
    if not value and not required:
        return ""
    try:
        der = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        der = b""
    if not der.startswith(b"\x30"):  # a DER SEQUENCE, as every SubjectPublicKeyInfo is
        raise LaunchError(
            BAD_PARAMETER, "--public-key (PUBLIC_KEY) is missing or not base64 of a DER public key"
        )
    return value


def _launch_key(value: str | None) -> bytes | None:
    if not value:
        return None
    try:
        key = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != LAUNCH_KEY_BYTES:
        raise LaunchError(
            BAD_PARAMETER, f"KERNEL_LAUNCH_KEY is not base64 of {LAUNCH_KEY_BYTES} bytes"
        )
    return key


def _port_range(value: str, environment: Mapping[str, str]) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})\.\.([0-9]{1,5})", value)
    if not match:
        raise LaunchError(
            BAD_PARAMETER, "--port-range (PORT_RANGE) is not of the form LOWEST..HIGHEST"
        )
    lowest, highest = int(match[1]), int(match[2])
    if lowest == highest == 0:
        return 0, 0
    minimum = _positive("MIN_PORT_RANGE_SIZE", environment, 1000)
    if not 1024 <= lowest <= highest < 1 << 16:
        raise LaunchError(
            BAD_PARAMETER, "--port-range (PORT_RANGE) must lie within 1024..65535, or be 0..0"
        )
    if highest - lowest < minimum:
        raise LaunchError(
            BAD_PARAMETER,
            f"--port-range (PORT_RANGE) must span at least {minimum} ports (MIN_PORT_RANGE_SIZE)",
        )
    return lowest, highest


def _positive(name: str, environment: Mapping[str, str], default: int) -> int:
    value = environment.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) == 0:
        raise LaunchError(BAD_PARAMETER, f"{name} must be a whole number from 1 to 99999")
    return int(value)


def _bytes(name: str, environment: Mapping[str, str], default: int) -> int:
    value = environment.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,10}", value):
        message = f"{name} must be a whole number of bytes from 0 to 9999999999"
        raise LaunchError(BAD_PARAMETER, message)
    return int(value)


def _class_name(value: str) -> str:
    if not all(part.isidentifier() for part in value.split(".")) or "." not in value:
        raise LaunchError(
            BAD_PARAMETER, "--kernel-class-name (KERNEL_CLASS_NAME) must be a class's dotted name"
        )
    return value


def _transport_encryption(given: argparse.Namespace, launch_key: bytes | None) -> str:
    value = given.transport_encryption
    if not value:
        # Clients of a version 1 gateway may not support Curve; one that requires it sets the option.
        return "auto" if launch_key else "disabled"
    if value.startswith("{"):  # a kernelspec's placeholder that an older gateway did not replace
        return "disabled"
    return _choice("transport-encryption", given, ("disabled", "auto", "required"))


def _choice(name: str, given: argparse.Namespace, choices: Sequence[str]) -> str:
    value: str = getattr(given, name.replace("-", "_")).lower()
    if value not in choices:
        raise LaunchError(BAD_PARAMETER, f"--{name} must be one of: {', '.join(choices)}")
    return value
