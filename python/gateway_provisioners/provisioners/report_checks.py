"""The rules for a kernel's report, of which everything is what its launcher, or user code, has written."""

from __future__ import annotations

import asyncio

from gateway_provisioners.aio import within
from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.kernelspec import DEFAULT_PORT_RANGE
from gateway_provisioners.provisioners.launch_traits import LaunchTraits

_LOWEST_PORT = 1024
_SECONDS_TO_CONNECT = 5.0


async def check_report(connection: ConnectionInfo, settings: LaunchTraits) -> None:
    """Check what a kernel reported against its settings.

    Raises:
        LaunchFailed: it breaks a rule.
    """
    image = settings.image_name
    check_protocol(connection, oldest=settings.oldest_protocol, image=image)
    check_encryption(connection, required=settings.transport_encryption == "required", image=image)
    check_ports(connection, settings.port_range)
    await check_family(connection, image=image)


def check_protocol(connection: ConnectionInfo, *, oldest: int, image: str) -> None:
    """Check that the launcher proved, where that is required, that it is the one of this launch.

    Raises:
        LaunchFailed: the launcher in `image` is too old.
    """
    if connection.protocol < oldest:
        msg = (
            f"The image's launcher is too old: it speaks version {connection.protocol} of the wire protocol, "
            f"and {oldest} is required (oldest_protocol). Run 'jupyter image-bootstrap install' in the image "
            f"{image!r}."
        )
        raise LaunchFailed("ProtocolVersion", msg)


def check_encryption(connection: ConnectionInfo, *, required: bool, image: str) -> None:
    """Check that encryption, where it is required, is there and authenticated.

    Raises:
        LaunchFailed: the launcher in `image` cannot do it.
    """
    if not required:
        return
    if connection.protocol == 1:
        msg = (
            "The image's launcher is too old to encrypt, which is required (transport_encryption): version 1 "
            "of the wire protocol does not prove whose keys are used. Run 'jupyter image-bootstrap install' "
            f"in the image {image!r}, or set transport_encryption to 'auto'."
        )
        raise LaunchFailed("Unencrypted", msg)
    if not connection.curve_publickey:
        msg = (
            "The image's launcher offers no encryption, which is required (transport_encryption). Rebuild "
            f"the image {image!r} with ipykernel 7.3 or later, or set transport_encryption to 'auto'."
        )
        raise LaunchFailed("Unencrypted", msg)


def check_ports(connection: ConnectionInfo, port_range: str) -> None:
    """Check that the gateway is asked to connect to ports of kernels only.

    Args:
        port_range: the administrator's, LOWEST..HIGHEST; 0..0 for any port that needs no privilege.

    Raises:
        LaunchFailed: a port is outside of it.
    """
    lowest, highest = _LOWEST_PORT, (1 << 16) - 1
    if port_range != DEFAULT_PORT_RANGE:
        lowest, highest = (int(port) for port in port_range.split(".."))
    for port in connection.ports:
        if not lowest <= port <= highest:
            msg = (
                f"The launcher reported port {port}, which is not in the range {lowest}..{highest} "
                "(port_range). Use an image whose launcher follows PORT_RANGE."
            )
            raise LaunchFailed("PortRange", msg)


async def check_family(connection: ConnectionInfo, *, image: str) -> None:
    """Check that a launcher at an IPv6 address listens there, and not on IPv4 alone, as older ones do.

    Raises:
        LaunchFailed: it refuses connections to its communication port.
    """
    if ":" not in connection.ip:
        return
    try:
        _, writer = await within(
            _SECONDS_TO_CONNECT, asyncio.open_connection(connection.ip, connection.comm_port)
        )
    except ConnectionRefusedError:
        msg = (
            f"The image's launcher listens on IPv4 alone, and the kernel's address is {connection.ip}. Run "
            f"'jupyter image-bootstrap install' in the image {image!r}."
        )
        raise LaunchFailed("OldLauncher", msg) from None
    except (OSError, asyncio.TimeoutError):
        return  # which says nothing about the launcher
    writer.close()
