"""The gateway's routes, in the form that jupyter_kernel_gateway loads (`KG_API`)."""

from __future__ import annotations

from typing import Any

from jupyter_server.base import handlers as base_handlers
from jupyter_server.kernelspecs import handlers as resource_handlers
from jupyter_server.services.kernels import handlers as kernel_handlers
from jupyter_server.services.kernelspecs import handlers as spec_handlers
from jupyter_server.services.sessions import handlers as session_handlers
from jupyter_server.utils import url_path_join
from traitlets.config import LoggingConfigurable

from gateway_provisioners.gateway.http import handlers as ours
from gateway_provisioners.gateway.process.health import HealthHandler, ReadyHandler
from gateway_provisioners.gateway.process.metrics import MetricsHandler
from gateway_provisioners.settings import from_env


class GatewayPersonality(LoggingConfigurable):
    """What jupyter_kernel_gateway calls a personality: routes, and no kernels of its own."""

    list_kernels = from_env("KG_LIST_KERNELS", True, "Let clients list the kernels and sessions.")

    async def init_configurables(self) -> None:
        """Start no kernels ahead of time."""

    async def shutdown(self) -> None:
        """End no kernels: that is the application's to decide."""

    def create_request_handlers(self) -> list[tuple[Any, ...]]:
        """The routes below the base URL; those without the token first."""
        app: Any = self.parent
        routes: list[tuple[Any, ...]] = [
            (r"/healthz", HealthHandler),
            (r"/readyz", ReadyHandler, {"checks": app.health}),
            (r"/metrics", MetricsHandler, {"metrics": app.kernel_manager.metrics}),
            (r"/api", _with_token(base_handlers.APIVersionHandler)),
        ]
        for module in (kernel_handlers, spec_handlers, resource_handlers, session_handlers):
            routes += [(path, _with_token(handler)) for path, handler in module.default_handlers]
        routes.append((r"/(.*)", ours.NotFoundHandler))
        return [(url_path_join("/", app.base_url, path), *rest) for path, *rest in routes]


def create_personality(**kwargs: Any) -> GatewayPersonality:
    """What jupyter_kernel_gateway looks for in this module."""
    return GatewayPersonality(**kwargs)


def _with_token(handler: type) -> type:
    """Our handler of that name if there is one, else jupyter_server's with our token check."""
    name = handler.__name__
    return getattr(ours, name, None) or type(name, (ours.GatewayHandlerMixin, handler), {})
