"""The back end that the settings name."""

from __future__ import annotations

from typing import Any

from gateway_provisioners import settings
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.backends.base import Backend


def choose_backend(parent: Any) -> Backend | None:
    """The engine that the environment names; None: kernels end with the gateway.

    Raises:
        ConfigurationError: it names none that there is, or its client library is not installed.
    """
    name = settings.text("GP_ENGINE", "kubernetes")
    if name not in {"kubernetes", "docker"}:
        raise ConfigurationError(
            f"GP_ENGINE={name!r} is no engine; there are kubernetes and docker."
        )
    if not settings.text("GP_INSTANCE"):
        return None
    # Only one of them need be installed.
    try:
        if name == "docker":
            from gateway_provisioners.gateway.backends.docker import DockerBackend

            return DockerBackend(parent)
        from gateway_provisioners.gateway.backends.kubernetes import KubernetesBackend

        return KubernetesBackend(parent)
    except ModuleNotFoundError as error:
        msg = f"GP_ENGINE={name} needs pip install 'gateway_provisioners[{name}]'."
        raise ConfigurationError(msg) from error
