"""The size of a kernel's mailbox (launchers/protocol/SPEC.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway_provisioners.errors import InvalidRequest
from gateway_provisioners.model.quoting import quoted
from gateway_provisioners.model.request.quantity import amount

MEMORY_VARIABLE = "KERNEL_MAILBOX_BYTES"
DISK_VARIABLE = "KERNEL_MAILBOX_DISK_BYTES"
DEFAULT_DISK_BYTES = 512 * 2**20
_STORAGE = "ephemeral-storage"


def check_mailbox_variables(environment: Mapping[str, str]) -> None:
    """Check what the launcher reads, and would refuse only in the kernel's container.

    Raises:
        InvalidRequest: a value is not a number of bytes.
    """
    for name in (MEMORY_VARIABLE, DISK_VARIABLE):
        value = environment.get(name)
        if value and not re.fullmatch(r"[0-9]{1,10}", value):
            msg = f"{name}={quoted(value)} must be a whole number of bytes from 0 to 9999999999."
            raise InvalidRequest(msg)


def mailbox_disk(resources: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that keeps the mailbox within the container's limit on storage, if it is needed.

    A container that exceeds its limit is evicted.

    Args:
        resources: of the container.
        environment: of the kernel, with that of its client.

    Raises:
        InvalidRequest: the mailbox that the environment asks for is larger than the limit.
    """
    limit = (resources.get("limits") or {}).get(_STORAGE)
    if limit is None:
        return {}
    most = int(amount(str(limit)))
    if wanted := environment.get(DISK_VARIABLE):
        if int(wanted) > most:
            msg = (
                f"{DISK_VARIABLE}={wanted} is more than the kernel's limit on {_STORAGE}, {limit}; ask for "
                f"less, or ask the administrator to raise the limit."
            )
            raise InvalidRequest(msg)
        return {}
    # The other half is for the user's own files.
    return {DISK_VARIABLE: str(min(DEFAULT_DISK_BYTES, most // 2))}
