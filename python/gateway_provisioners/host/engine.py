"""What the gateway needs of the engine that runs its kernels, and which engine that is."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.host import settings
from gateway_provisioners.host.health import Check, HealthChecks
from gateway_provisioners.host.kernel_manager import GatewayKernelManager
from gateway_provisioners.host.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.provisioners.engine_services import EngineServices

_PACKAGE = "gateway_provisioners"
# Each is loaded where it is chosen: its client library is an extra of the package, of the engine's name.
_ENGINES = {
    "kubernetes": ("gateway_provisioners.host.cluster", "Cluster"),
    "docker": ("gateway_provisioners.host.docker_host", "DockerHost"),
}


class Engine(Protocol):
    """Followed from `attach` to `detach`."""

    async def attach(
        self,
        kernels: GatewayKernelManager,
        kernelspecs: GatewayKernelSpecManager,
        health: HealthChecks,
    ) -> None:
        """Begin to follow it; take over the kernels that run there.

        Raises:
            ConfigurationError: it cannot be reached, or does not let us in.
        """
        ...

    async def yield_duties(self) -> None:
        """Leave dead and idle kernels to the other gateways, or to the next, from now on."""
        ...

    async def detach(self) -> None:
        """Stop following; kernels go on."""
        ...


def chosen_engine(parent: Any) -> Engine | None:
    """The engine of GP_ENGINE, for `parent` to configure; None without a GP_INSTANCE.

    Raises:
        ConfigurationError: there is no such engine, or its client library is not installed.
    """
    name = settings.text("GP_ENGINE", "kubernetes")
    if name not in _ENGINES:
        raise ConfigurationError(f"GP_ENGINE={name!r} is none of {', '.join(_ENGINES)}.")
    if not settings.text("GP_INSTANCE"):
        return None
    module, kind = _ENGINES[name]
    try:
        made: Engine = getattr(import_module(module), kind)(parent=parent)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(_PACKAGE):
            raise
        msg = f"GP_ENGINE={name} needs {error.name}: pip install '{_PACKAGE}[{name}]'."
        raise ConfigurationError(msg) from error
    return made


def response_server_check(services: EngineServices) -> Callable[[], Check]:
    """Whether launchers can report."""

    def check() -> Check:
        server = services.response_server
        return Check(server.listening, server.response_address)

    return check
