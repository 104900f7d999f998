"""The profiles of a kernel: kernelspecs of the same kernel that differ in size."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from traitlets import TraitError

from gateway_provisioners.errors import ConfigurationError, PolicyViolation
from gateway_provisioners.model.request.memory_advice import Profile
from gateway_provisioners.model.request.quantity import amount
from gateway_provisioners.provisioners.authorization import check_user
from gateway_provisioners.provisioners.launch_traits import LaunchTraits

PROFILE_OF = "profile_of"
"""In a kernelspec's `metadata`: the name of the kernel that it is a profile of."""


def other_profiles(
    kernel_name: str,
    metadata: Mapping[str, Any],
    kernel_specs: KernelSpecManager,
    *,
    username: str,
    groups: Collection[str],
) -> Iterator[Profile]:
    """Yield the other kernelspecs of the same kernel that a user may start.

    Args:
        kernel_name: the name of the kernelspec in use.
        metadata: that of the kernelspec in use.
        kernel_specs: all kernelspecs of this process.
    """
    kernel = metadata.get(PROFILE_OF, kernel_name)
    for name, found in sorted(kernel_specs.get_all_specs().items()):
        spec = found["spec"]
        if name == kernel_name or spec["metadata"].get(PROFILE_OF, name) != kernel:
            continue
        try:
            settings = _settings(spec["metadata"])
            check_user(
                username,
                groups,
                kernel_name=name,
                authorized=settings.authorized_users,
                authorized_groups=settings.authorized_groups,
                unauthorized=settings.unauthorized_users,
            )
            limit = memory_limit(settings)
        except (ConfigurationError, PolicyViolation, TraitError):
            continue
        yield Profile(spec["display_name"], limit)


def memory_limit(settings: LaunchTraits) -> str:
    """Return the kernelspec's memory limit; "" if it has none.

    Raises:
        ConfigurationError: it is not a valid quantity.
    """
    limits = settings.resources.get("limits")
    limit = str((limits.get("memory") if isinstance(limits, Mapping) else None) or "")
    return limit if limit and amount(limit) else ""


def _settings(metadata: Mapping[str, Any]) -> LaunchTraits:
    config = metadata.get("kernel_provisioner", {}).get("config", {})
    known = LaunchTraits.class_trait_names()
    return LaunchTraits(**{name: value for name, value in config.items() if name in known})
