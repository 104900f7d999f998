"""The handlers that start, list, show, share and end kernels."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import msgspec
from jupyter_client.jsonutil import json_default
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_server.auth.decorator import authorized
from jupyter_server.services.kernels import handlers as upstream
from jupyter_server.utils import url_escape, url_path_join
from tornado import web

from gateway_provisioners.errors import ForeignKernelId, PolicyViolation
from gateway_provisioners.gateway.failures import known_cause
from gateway_provisioners.gateway.http.handlers import (
    GatewayHandlerMixin,
    missing_kernel,
    require_listing,
)
from gateway_provisioners.gateway.http.share_request import parse_ownership_request, share_model
from gateway_provisioners.gateway.http.start_request import (
    StartRequest,
    UnknownKernel,
    parse_start_request,
)
from gateway_provisioners.gateway.kernels.details import detailed_model
from gateway_provisioners.model.ownership import Access, Ownership
from gateway_provisioners.model.quoting import quoted


class StartingHandlerMixin(GatewayHandlerMixin):
    """Starts kernels for clients, under the same rules wherever they ask."""

    audit_events = MappingProxyType({"POST": "start"})

    def parse(self, parser: Callable[..., StartRequest]) -> StartRequest:
        """Check the body of a request."""
        return parser(
            self.request.body,
            known_names=lambda: self.kernel_spec_manager.find_kernel_specs().keys(),
            default_name=self.kernel_manager.default_kernel_name,
            forced_name=self.settings["forced_kernel_name"],
            client_variables=self.settings["client_variables"],
        )

    async def start(self, wanted: StartRequest) -> str:
        """Start a kernel, or attach to the one of that id; returns its id.

        Raises:
            HTTPError: 404 if it is, or was, another user's.
        """
        kernels = self.kernel_manager
        environment = self.settings["usernames"].environment_of(self.identity, wanted.environment)
        if wanted.kernel_id is not None:
            await self.find_kernel(wanted.kernel_id)
            owner = kernels.ownership_of(wanted.kernel_id) or kernels.former.owner_of(
                wanted.kernel_id
            )
            if owner is not None and self.identity.access_to(owner) == Access.NONE:
                raise _not_yours(wanted.kernel_id)
        try:
            kernel_id: str = await kernels.start_kernel(
                kernel_name=wanted.name,
                kernel_id=wanted.kernel_id,
                path=wanted.path,
                env=environment,
                ownership=Ownership(self.identity.name, tuple(sorted(self.identity.groups))),
            )
        except NoSuchKernel as error:
            administrator = self.settings["contact"].administrator
            msg = (
                "The kernel's provisioner is not installed in this gateway, so that "
                f"{quoted(wanted.name)} cannot be started. Ask {administrator} to install it."
            )
            raise UnknownKernel(msg) from error
        except Exception as error:
            if isinstance(known_cause(error), ForeignKernelId):  # which this gateway did not know
                raise _not_yours(str(wanted.kernel_id)) from None
            raise
        return kernel_id


def _not_yours(kernel_id: str) -> web.HTTPError:
    """The one answer about another user's kernel, whether it starts, runs or has ended."""
    return web.HTTPError(404, missing_kernel(kernel_id))


class MainKernelHandler(StartingHandlerMixin, upstream.MainKernelHandler):
    """Starts and lists kernels.

    Replaces jupyter_kernel_gateway's, which swaps the kernel manager's `start_kernel` during a start, so
    that concurrent requests can get each other's environment.
    """

    @web.authenticated
    @authorized
    async def get(self) -> None:
        require_listing(self)
        listed = [
            model for model in self.kernel_manager.list_kernels() if self.access_to(model["id"])
        ]
        self.finish(json.dumps(listed, default=json_default))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Start a kernel from `{"name": ..., "env": {...}}`; the answer is 201 and its model."""
        kernel_id = await self.start(self.parse(parse_start_request))
        self.set_header(
            "Location", url_path_join(self.base_url, "api", "kernels", url_escape(kernel_id))
        )
        self.set_status(201)
        self.finish(json.dumps(self.kernel_manager.kernel_model(kernel_id), default=json_default))


class KernelHandler(GatewayHandlerMixin, upstream.KernelHandler):
    """Shows, shares and ends a kernel."""

    audit_events = MappingProxyType({"PATCH": "share", "DELETE": "end"})
    needed_access = MappingProxyType({**GatewayHandlerMixin.needed_access, "PATCH": Access.OWNER})
    _is_cancelled = False

    @web.authenticated
    @authorized
    async def get(self, kernel_id: str) -> None:
        """Show the kernel, with what it uses."""
        self._finish_with_model(kernel_id, await detailed_model(self.kernel_manager, kernel_id))

    @web.authenticated
    @authorized
    async def patch(self, kernel_id: str) -> None:
        """Share the kernel with others, or, as an administrator, give it to another owner."""
        self.require_small_body()
        wanted = parse_ownership_request(self.request.body)
        if not self.identity.is_admin:
            if wanted.owner is not msgspec.UNSET:
                raise PolicyViolation("Only an administrator may give a kernel to another owner.")
            if not self.settings["sharing"]:
                raise PolicyViolation("Sharing is switched off on this gateway (GP_SHARING).")
        kernels = self.kernel_manager
        await kernels.change_ownership(
            kernel_id, wanted.apply(kernels.get_kernel(kernel_id).ownership)
        )
        self._finish_with_model(kernel_id, kernels.kernel_model(kernel_id))

    async def find_kernel(self, kernel_id: str) -> None:
        """Look for a kernel, but do not wait for the end of a start by this gateway, which ends here."""
        is_starting = self.settings["kernel_manager"].starts.get(kernel_id) is not None
        if not (self.request.method == "DELETE" and is_starting and self.access_to(kernel_id)):
            await super().find_kernel(kernel_id)

    async def _require_access(self) -> None:
        try:
            await super()._require_access()
        except web.HTTPError:
            if self.request.method != "DELETE" or not await self._cancel_start_elsewhere():
                raise

    async def _cancel_start_elsewhere(self) -> bool:
        """Cancel the start of a kernel by another gateway, which this one does not know yet."""
        kernels, kernel_id = self.settings["kernel_manager"], self.path_kwargs["kernel_id"]
        if kernels.ownership_of(kernel_id) is not None:
            return False
        self._is_cancelled = await kernels.peers.cancel_start(
            kernel_id, lambda ownership: self.identity.access_to(ownership) >= Access.OWNER
        )
        if self._is_cancelled:
            kernels.audit.record("end", kernels.audited(kernel_id), actor=self.actor)
        return self._is_cancelled

    @web.authenticated
    @authorized
    async def delete(self, kernel_id: str) -> None:
        """Shut the kernel down, or cancel its start."""
        kernels = self.kernel_manager
        if self._is_cancelled:
            self.set_status(204)
            self.finish()
            return
        if kernels.starts.get(kernel_id) is None:
            await super().delete(kernel_id)
            return
        await kernels.cancel_start(kernel_id)
        self.set_status(204)
        self.finish()

    def _finish_with_model(self, kernel_id: str, model: dict[str, Any]) -> None:
        if self.access_to(kernel_id) == Access.OWNER:
            model["share"] = share_model(self.kernel_manager.get_kernel(kernel_id).ownership)
        self.finish(json.dumps(model, default=json_default))
