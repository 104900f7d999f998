"""The volumes of a kernel's container, as mounts of the Docker API: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway_provisioners.errors import ConfigurationError, InvalidRequest

Mount = dict[str, Any]

_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")


def parse_volumes(volumes: Sequence[str]) -> list[Mount]:
    """The administrator's volumes, each `SOURCE:TARGET[:ro]`.

    SOURCE is a path of the engine's host or the name of a volume.

    Raises:
        ConfigurationError: a volume is not of this form.
    """
    mounts = []
    for volume in volumes:
        source, _, rest = volume.partition(":")
        target, _, mode = rest.partition(":")
        is_path = source.startswith("/")
        if (
            not (is_path or _VOLUME_NAME.fullmatch(source))
            or not target.startswith("/")
            or mode not in {"", "ro", "rw"}
        ):
            msg = (
                f"volumes: {volume!r} is not of the form SOURCE:TARGET[:ro], where SOURCE is a path or "
                "the name of a volume."
            )
            raise ConfigurationError(msg)
        kind = "bind" if is_path else "volume"
        mounts.append({"Type": kind, "Source": source, "Target": target, "ReadOnly": mode == "ro"})
    return mounts


def client_mounts(
    volumes: Sequence[Mapping[str, Any]], volume_mounts: Sequence[Mapping[str, Any]]
) -> list[Mount]:
    """The client's volumes, checked by `parse_client_volumes`: a claim is the engine's volume of that name.

    Raises:
        InvalidRequest: a mount has a subPath; engines before 26 would mount the whole volume.
    """
    claims = {volume["name"]: volume["persistentVolumeClaim"] for volume in volumes}
    mounts = []
    for mount in volume_mounts:
        if "subPath" in mount:
            msg = (
                "KERNEL_VOLUME_MOUNTS: a subPath is not supported for kernels in Docker containers."
            )
            raise InvalidRequest(msg)
        claim = claims[mount["name"]]
        mounts.append(
            {
                "Type": "volume",
                "Source": claim["claimName"],
                "Target": mount["mountPath"],
                "ReadOnly": claim["readOnly"] or mount["readOnly"],
            }
        )
    return mounts
