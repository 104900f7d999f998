"""What clients may say about containers, where the administrator lets them: ids and volumes, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gateway_provisioners.errors import ConfigurationError, InvalidRequest, PolicyViolation

# What an administrator can hand over to clients, by the name of the variable.
GRANTABLE = ("KERNEL_UID", "KERNEL_GID", "KERNEL_VOLUMES")

_ID = re.compile(r"[0-9]{1,9}")
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")


def numeric_id(
    environment: Mapping[str, str], name: str, fallback: int | None, *, prohibited: Collection[str]
) -> int | None:
    """The user or group id that a client asks for, or else `fallback`.

    Args:
        prohibited: ids that no client may have, as numbers.

    Raises:
        InvalidRequest: it is no number.
        PolicyViolation: it is prohibited.
    """
    value = environment.get(name, "")
    if not value:
        return fallback
    if not _ID.fullmatch(value):
        msg = f"{name}={value!r} is no numeric id."
        raise InvalidRequest(msg)
    if int(value) in {int(each) for each in prohibited}:
        msg = f"{name}={value} is prohibited by the administrator of this gateway."
        raise PolicyViolation(msg)
    return int(value)


def parse_volumes(volumes: Sequence[str]) -> list[dict[str, Any]]:
    """The administrator's volumes, each `SOURCE:TARGET[:ro]`, as mounts.

    SOURCE is a path of the engine's host or the name of a volume.

    Raises:
        ConfigurationError: one has another form.
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
                f"volumes: {volume!r} has not the form SOURCE:TARGET[:ro], SOURCE being a path or a "
                "volume's name."
            )
            raise ConfigurationError(msg)
        mounts.append(
            {
                "Type": "bind" if is_path else "volume",
                "Source": source,
                "Target": target,
                "ReadOnly": mode == "ro",
            }
        )
    return mounts


def parse_client_volumes(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The volumes that a client asks for in KERNEL_VOLUMES: a JSON list in the form of `parse_volumes`.

    A client mounts volumes, and never a path of the host.

    Raises:
        InvalidRequest: it has another form.
        PolicyViolation: it names a path.
    """
    text = environment.get("KERNEL_VOLUMES", "")
    if not text:
        return []
    wrong = (
        'KERNEL_VOLUMES has not the form ["VOLUME:TARGET[:ro]", ...], a JSON list; it is not used.'
    )
    try:
        volumes = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(wrong) from error
    if not isinstance(volumes, list) or not all(isinstance(each, str) for each in volumes):
        raise InvalidRequest(wrong)
    if any(each.startswith("/") for each in volumes):
        msg = "KERNEL_VOLUMES names a path of the host; a client may mount named volumes only."
        raise PolicyViolation(msg)
    try:
        return parse_volumes(volumes)
    except ConfigurationError as error:
        raise InvalidRequest(wrong) from error
