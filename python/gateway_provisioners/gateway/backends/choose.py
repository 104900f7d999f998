"""The back end that the settings name."""

from __future__ import annotations

from typing import Any

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.backends.base import Backend
from gateway_provisioners.provisioners.engine_traits import EngineTraits


def choose_backend(engine: str, parent: Any) -> Backend | None:
    """Return the back end for `engine`, kubernetes or docker, or None if kernels end with the gateway.

    Args:
        parent: configures it.

    Raises:
        ConfigurationError: the engine's client library is not installed.
    """
    if not EngineTraits(parent=parent).instance_is_lasting:
        return None
    # Only the client library of this engine has to be installed.
    try:
        if engine == "docker":
            from gateway_provisioners.gateway.backends.docker import DockerBackend

            return DockerBackend(parent)
        from gateway_provisioners.gateway.backends.kubernetes import KubernetesBackend

        return KubernetesBackend(parent)
    except ModuleNotFoundError as error:
        msg = f"GP_ENGINE={engine} needs pip install 'gateway_provisioners[{engine}]'."
        raise ConfigurationError(msg) from error
