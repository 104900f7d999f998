"""Advice on memory from the settings of a kernel and the other kernelspecs of this process."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager

from gateway_provisioners.contact import Contact
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.model.request.launch_request import DEFAULT_USERNAME
from gateway_provisioners.model.request.memory_advice import MEMORY_LIMIT, memory_advice
from gateway_provisioners.provisioners.launch_traits import LaunchTraits
from gateway_provisioners.provisioners.profiles import memory_limit, other_profiles

_log = logging.getLogger(__name__)


def advise_on_memory(
    settings: LaunchTraits,
    *,
    kernel_name: str,
    metadata: Mapping[str, Any],
    environment: Mapping[str, str],
    groups: Collection[str],
    kernel_specs: KernelSpecManager | None,
) -> str:
    """Return a sentence on how to get more memory.

    Args:
        settings: those of the kernel.
        metadata: that of its kernelspec.
        environment: the client's variables.
        groups: the groups of its user.
        kernel_specs: where its profiles are looked for; None if the process has none.
    """
    profiles = kernel_specs and other_profiles(
        kernel_name,
        metadata,
        kernel_specs,
        username=environment.get("KERNEL_USERNAME") or DEFAULT_USERNAME,
        groups=groups,
    )
    administrator = Contact(parent=settings).administrator
    try:
        return memory_advice(
            own_limit=memory_limit(settings),
            requested=environment.get(MEMORY_LIMIT, ""),
            maximum=settings.max_memory,
            profiles=profiles or (),
            administrator=administrator,
        )
    except ConfigurationError as error:
        _log.warning("A limit of kernel %s cannot be read: %s", kernel_name, error)
        return f"For more memory, ask {administrator}."
