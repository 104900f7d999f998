"""The handlers of sessions: the notebooks of clients and their kernels."""

from __future__ import annotations

import json
from types import MappingProxyType

from jupyter_client.jsonutil import json_default
from jupyter_server.auth.decorator import authorized
from jupyter_server.services.sessions import handlers as upstream
from jupyter_server.utils import url_path_join
from tornado import web

from gateway_provisioners.gateway.http.handlers import GatewayHandlerMixin, require_listing
from gateway_provisioners.gateway.http.kernel_handlers import StartingHandlerMixin
from gateway_provisioners.gateway.http.start_request import (
    parse_session_path,
    parse_session_request,
)


class SessionRootHandler(StartingHandlerMixin, upstream.SessionRootHandler):
    """Starts and lists sessions."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        require_listing(self)
        listed = [
            model
            for model in self.session_manager.list_sessions()
            if self.access_to(model["kernel"]["id"])
        ]
        self.finish(json.dumps(listed, default=json_default))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Start a kernel for a notebook, unless it has one; the answer is 201 and the session's model.

        Upstream starts it without an environment, under the name that the client wants.
        """
        self.require_small_body()
        wanted = self.parse(parse_session_request)
        session = self.session_manager.of_notebook(wanted.path, self.identity.name)
        if session is None:
            kernel_id = await self.start(wanted)
            session = self.session_manager.add(wanted.path, kernel_id)
        self.set_header("Location", url_path_join(self.base_url, "api", "sessions", session["id"]))
        self.set_status(201)
        self.finish(json.dumps(session, default=json_default))


class SessionHandler(GatewayHandlerMixin, upstream.SessionHandler):
    """Shows, renames and ends a session."""

    audit_events = MappingProxyType({"DELETE": "end"})

    @web.authenticated
    @authorized
    async def get(self, session_id: str) -> None:
        self.finish(json.dumps(self.session_manager.model(session_id), default=json_default))

    @web.authenticated
    @authorized
    async def patch(self, session_id: str) -> None:
        """Follow a notebook that was renamed."""
        self.require_small_body()
        self.session_manager.change_path(session_id, parse_session_path(self.request.body))
        self.finish(json.dumps(self.session_manager.model(session_id), default=json_default))
