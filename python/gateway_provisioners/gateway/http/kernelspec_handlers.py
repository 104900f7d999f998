"""The handlers of kernelspecs and of their logos."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from jupyter_client.kernelspec import KernelSpec, NoSuchKernel
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.kernelspecs import handlers as resource_handlers
from jupyter_server.services.kernelspecs import handlers as spec_handlers
from jupyter_server.utils import url_escape, url_path_join
from tornado import web

from gateway_provisioners.gateway.http.handlers import GatewayHandlerMixin

# For a client that opens a logo as a page. As an image in another, it runs and loads nothing anyway.
_LOGO_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"


class _ModelsMixin(GatewayHandlerMixin, JupyterHandler):
    """Describes kernelspecs by upstream's model, with those resources only that are served."""

    async def models_of(self, specs: Mapping[str, KernelSpec]) -> dict[str, dict[str, Any]]:
        """Return the models of kernelspecs by name."""
        return await asyncio.to_thread(
            lambda: {name: self._model(name, spec) for name, spec in specs.items()}
        )

    def _model(self, name: str, spec: KernelSpec) -> dict[str, Any]:
        folder = url_path_join(self.base_url, "kernelspecs", url_escape(name))
        logos = self.kernel_spec_manager.logos.names(spec)
        resources = {logo.rpartition(".")[0]: url_path_join(folder, logo) for logo in logos}
        return {"name": name, "spec": spec.to_dict(), "resources": resources}


class KernelSpecsHandler(_ModelsMixin, spec_handlers.MainKernelSpecHandler):
    """Lists the kernelspecs."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the models of all kernelspecs, and the name of the default one."""
        specs = {
            name: KernelSpec(resource_dir=found["resource_dir"], **found["spec"])
            for name, found in self.kernel_spec_manager.get_all_specs().items()
        }
        default = self.kernel_manager.default_kernel_name
        self.finish({"default": default, "kernelspecs": await self.models_of(specs)})


class KernelSpecHandler(_ModelsMixin, spec_handlers.KernelSpecHandler):
    """Describes one kernelspec."""

    @web.authenticated
    @authorized
    async def get(self, kernel_name: str) -> None:
        """Answer with the model of a kernelspec."""
        name = unquote(kernel_name)
        try:
            spec = self.kernel_spec_manager.get_kernel_spec(name)
        except NoSuchKernel as error:
            raise web.HTTPError(404, f"Kernel spec {name} not found") from error
        self.finish((await self.models_of({name: spec}))[name])


class LogoHandler(GatewayHandlerMixin, JupyterHandler):
    """Serves the logos of kernelspecs, and no other file.

    A page or a script among them would act in the name of the client whose server passes it on, as
    JupyterLab's does, without our headers.
    """

    auth_resource = resource_handlers.AUTH_RESOURCE

    @web.authenticated
    @authorized
    async def get(self, kernel_name: str, path: str) -> None:
        """Answer with a logo."""
        try:
            spec = self.kernel_spec_manager.get_kernel_spec(unquote(kernel_name))
        except NoSuchKernel as error:
            raise web.HTTPError(404, f"Kernel spec {kernel_name} not found") from error
        content = await asyncio.to_thread(self.kernel_spec_manager.logos.content, spec, path)
        if content is None:
            raise web.HTTPError(404, "Only the logos of a kernelspec are served.")
        self.set_header("Content-Type", mimetypes.guess_type(path)[0] or "application/octet-stream")
        self.set_header("Content-Security-Policy", _LOGO_POLICY)
        self.finish(content)

    head = get
