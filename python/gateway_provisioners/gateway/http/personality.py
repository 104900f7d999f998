"""The gateway's routes, in the form that jupyter_kernel_gateway loads (`KG_API`)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from jupyter_server.base import handlers as base_handlers
from jupyter_server.kernelspecs import handlers as resource_handlers
from jupyter_server.services.kernels import handlers as kernel_handlers
from jupyter_server.services.kernelspecs import handlers as spec_handlers
from jupyter_server.services.sessions import handlers as session_handlers
from jupyter_server.utils import url_path_join
from traitlets.config import LoggingConfigurable

from gateway_provisioners.gateway.http import handlers
from gateway_provisioners.gateway.http.kernel_handlers import KernelHandler, MainKernelHandler
from gateway_provisioners.gateway.http.kernelspec_handlers import (
    KernelSpecHandler,
    KernelSpecsHandler,
    LogoHandler,
)
from gateway_provisioners.gateway.http.progress_handler import ProgressHandler
from gateway_provisioners.gateway.http.session_handlers import SessionHandler, SessionRootHandler
from gateway_provisioners.gateway.http.websocket_handler import KernelWebsocketHandler
from gateway_provisioners.gateway.process.health import HealthHandler, MovedHandler
from gateway_provisioners.settings import from_env

_KERNEL_ID = r"(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)"
# The other handlers are jupyter_server's, behind our token check.
_REPLACEMENTS: Mapping[type, type] = {
    kernel_handlers.MainKernelHandler: MainKernelHandler,
    kernel_handlers.KernelHandler: KernelHandler,
    kernel_handlers.KernelWebsocketHandler: KernelWebsocketHandler,
    resource_handlers.KernelSpecResourceHandler: LogoHandler,
    session_handlers.SessionHandler: SessionHandler,
    session_handlers.SessionRootHandler: SessionRootHandler,
    spec_handlers.KernelSpecHandler: KernelSpecHandler,
    spec_handlers.MainKernelSpecHandler: KernelSpecsHandler,
}


class GatewayPersonality(LoggingConfigurable):
    """A personality of jupyter_kernel_gateway: routes, without kernels of its own."""

    list_kernels = from_env("KG_LIST_KERNELS", True, "Let clients list the kernels and sessions.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initialized = asyncio.Event()

    async def init_configurables(self) -> None:
        """Start no kernels ahead of time; upstream begins this as a task, 0.1 seconds after it is made."""
        self.initialized.set()

    async def shutdown(self) -> None:
        """Shut down no kernels: the application decides about that."""

    def create_request_handlers(self) -> list[tuple[Any, ...]]:
        """Return the routes below the base URL; the first two need no token."""
        app: Any = self.parent
        routes: list[tuple[Any, ...]] = [
            (r"/healthz", HealthHandler),
            (r"/metrics", MovedHandler, {"health_port": app.health_port}),
            (r"/readyz", handlers.ReadinessHandler, {"checks": app.health}),
            (r"/api", _with_token(base_handlers.APIVersionHandler)),
        ]
        for module in (kernel_handlers, spec_handlers, resource_handlers, session_handlers):
            routes += [(path, _with_token(handler)) for path, handler in module.default_handlers]
        routes.append((rf"/api/kernels/{_KERNEL_ID}/progress", ProgressHandler))
        base_url = app.base_url
        routes.append((r"/.*", handlers.NotFoundHandler))
        below = [(url_path_join("/", re.escape(base_url), path), *rest) for path, *rest in routes]
        elsewhere = (r"/.*", handlers.ElsewhereHandler, {"base_url": base_url})
        return below if base_url == "/" else [*below, elsewhere]


def create_personality(**kwargs: Any) -> GatewayPersonality:
    """Make the personality; jupyter_kernel_gateway looks for this name."""
    return GatewayPersonality(**kwargs)


def _with_token(handler: type) -> type:
    return _REPLACEMENTS.get(handler) or type(
        handler.__name__, (handlers.GatewayHandlerMixin, handler), {}
    )
