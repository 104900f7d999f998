"""The gateway's HTTP handlers: jupyter_server's, behind our token check and with our error answers."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar

import msgspec
from jupyter_client.jsonutil import json_default
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.kernelspecs import handlers as resource_handlers
from jupyter_server.services.kernels import handlers as kernel_handlers
from jupyter_server.services.sessions import handlers as session_handlers
from jupyter_server.utils import url_escape, url_path_join
from tornado import web
from tornado.websocket import WebSocketClosedError

from gateway_provisioners.errors import PolicyViolation
from gateway_provisioners.gateway.failures import describe, known_cause, summarize
from gateway_provisioners.gateway.http.access_log import request_summary
from gateway_provisioners.gateway.http.auditing import AuditingMixin
from gateway_provisioners.gateway.http.auth import identification_of
from gateway_provisioners.gateway.http.credential_watch import CredentialWatch
from gateway_provisioners.gateway.http.door import Refusal
from gateway_provisioners.gateway.http.share_request import parse_ownership_request, share_model
from gateway_provisioners.gateway.http.start_request import (
    StartRequest,
    UnknownKernel,
    parse_session_path,
    parse_session_request,
    parse_start_request,
)
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import Identity, NotIdentified
from gateway_provisioners.gateway.process.health import HealthChecks
from gateway_provisioners.gateway.websocket.connection import (
    TRY_AGAIN_LATER,
    GatewayWebsocketConnection,
)
from gateway_provisioners.gateway.websocket.read_only_connection import ReadOnlyConnection
from gateway_provisioners.gateway.websocket.websocket_protocol import BoundedWebSocketProtocol
from gateway_provisioners.model.ownership import Access, Ownership

_log = logging.getLogger(__name__)

_LOGO = re.compile(r"logo-[\w.-]*\.(?:png|svg|jpe?g|gif|webp|ico)", re.IGNORECASE | re.ASCII)
# The name and the path of a notebook, and those of a kernel.
_LONGEST_BODY = 64 * 1024
# By the access that a request needs, the answer to a client with less.
_REFUSALS = {
    Access.FULL: "This kernel is shared with you for reading only; its owner can change that.",
    Access.OWNER: "This kernel is shared with you; only its owner and administrators can share it.",
}


class GatewayHandlerMixin(AuditingMixin):
    """Precedes a handler class: checks who the client is and what it may use, and sends errors as JSON.

    Attributes:
        identity: the client's.
    """

    identity: Identity

    async def prepare(self) -> None:
        """Refuse requests without a credential, except CORS preflights, which never have one."""
        if self.request.method != "OPTIONS":
            self.begin_audit()
            identification = identification_of(self.request)
            if identification.identity is None:
                raise identification.error or NotIdentified("A credential is missing.")
            self.identity = identification.identity
            if self.settings["draining"].is_set():
                self.set_header("Connection", "close")
                raise web.HTTPError(503, "This gateway is shutting down; try again.")
            await self._require_access()
        prepared = super().prepare()
        if inspect.isawaitable(prepared):
            await prepared

    async def _require_access(self) -> None:
        """Check that the client may do this with the kernel that the path names, by its id or a session's.

        Raises:
            HTTPError: 404 if the kernel does not exist for the client.
            PolicyViolation: it does, but is shared with the client, and not for this.
        """
        if session_id := self.path_kwargs.get("session_id"):
            kernel_id = self.settings["session_manager"].kernel_of(session_id)
            missing = f"Session not found: {session_id}"
        elif kernel_id := self.path_kwargs.get("kernel_id"):
            await self.find_kernel(kernel_id)
            missing = f"Kernel does not exist: {kernel_id}"
        else:
            return
        access = self.access_to(kernel_id)
        if access == Access.NONE:
            raise web.HTTPError(404, missing)
        needed = self.needed_access.get(self.request.method or "", Access.FULL)
        if access < needed:
            raise PolicyViolation(_REFUSALS[needed])

    async def find_kernel(self, kernel_id: str) -> None:
        """Look for a kernel that another gateway may have only just started.

        For another user's kernel the gateway looks as well, for one that does not exist: otherwise the time
        of the answer would show that the kernel exists.
        """
        kernels = self.settings["kernel_manager"]
        if kernel_id not in kernels:
            await kernels.peers.find(kernel_id)
        elif self.access_to(kernel_id) == Access.NONE:
            await kernels.peers.find(str(uuid.uuid4()))

    def access_to(self, kernel_id: str | None) -> Access:
        """Return what the client may do with a kernel."""
        ownership = kernel_id and self.settings["kernel_manager"].ownership_of(kernel_id)
        return self.identity.access_to(ownership) if ownership else Access.NONE

    needed_access: ClassVar[Mapping[str, Access]] = MappingProxyType(
        {"GET": Access.READ, "HEAD": Access.READ}
    )
    """By method, the access to a kernel that a request needs; others need full access."""

    def get_json_body(self) -> Any:
        """Return the body of a request that is small."""
        self.require_small_body()
        return super().get_json_body()

    def require_small_body(self) -> None:
        """Check the length of a body.

        Raises:
            HTTPError: it is large: to parse it would keep the event loop.
        """
        if len(self.request.body) > _LONGEST_BODY:
            raise web.HTTPError(
                413, f"The body of this request has more than {_LONGEST_BODY} bytes."
            )

    @allow_unauthenticated
    def options(self, *_args: Any, **_kwargs: Any) -> None:
        """Answer a CORS preflight."""
        self.finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send `{"reason", "message"}`, which JupyterLab shows to its user."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        failure = describe(error, status_code)
        self.refusal_reason = failure.reason
        self.set_status(failure.status)
        self.set_header("Content-Type", "application/json")
        if failure.retry_after is not None:
            self.set_header("Retry-After", failure.retry_after)
        if isinstance(self, JupyterHandler):
            self.set_cors_headers()  # without them a page in a browser could not read it
        self.finish(json.dumps({"reason": failure.reason, "message": failure.message}))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log errors of ours in one line, and unexpected ones with their traceback."""
        if value is not None and known_cause(value):
            _log.warning("%s: %s", self._request_summary(), summarize(value))
        elif isinstance(value, web.HTTPError):
            super().log_exception(typ, value, tb)
        else:
            _log.error(
                "%s: internal error",
                self._request_summary(),
                exc_info=(typ, value, tb),  # type: ignore[arg-type]
            )

    def _request_summary(self) -> str:
        return request_summary(self)


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
            HTTPError: 404 if it is another user's.
        """
        environment = self.settings["usernames"].environment_of(self.identity, wanted.environment)
        if wanted.kernel_id is not None:
            await self.find_kernel(wanted.kernel_id)
            exists = self.kernel_manager.ownership_of(wanted.kernel_id) is not None
            if exists and self.access_to(wanted.kernel_id) == Access.NONE:
                raise web.HTTPError(404, f"Kernel does not exist: {wanted.kernel_id}")
        try:
            kernel_id: str = await self.kernel_manager.start_kernel(
                kernel_name=wanted.name,
                kernel_id=wanted.kernel_id,
                path=wanted.path,
                env=environment,
                ownership=Ownership(self.identity.name, tuple(sorted(self.identity.groups))),
            )
        except NoSuchKernel as error:
            msg = (
                f"The kernel {wanted.name!r} cannot be started: its kernel provisioner is not installed in "
                f"this gateway. Ask the administrator to install it."
            )
            raise UnknownKernel(msg) from error
        return kernel_id


class MainKernelHandler(StartingHandlerMixin, kernel_handlers.MainKernelHandler):
    """Starts and lists kernels.

    Replaces jupyter_kernel_gateway's, which swaps the kernel manager's `start_kernel` during a start, so
    that concurrent requests can get each other's environment.
    """

    @web.authenticated
    @authorized
    async def get(self) -> None:
        _require_listing(self)
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


class KernelHandler(GatewayHandlerMixin, kernel_handlers.KernelHandler):
    """Shows, shares and ends a kernel."""

    audit_events = MappingProxyType({"PATCH": "share", "DELETE": "end"})
    needed_access = MappingProxyType({**GatewayHandlerMixin.needed_access, "PATCH": Access.OWNER})

    @web.authenticated
    @authorized
    async def get(self, kernel_id: str) -> None:
        self._finish_with_model(kernel_id)

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
        self._finish_with_model(kernel_id)

    def _finish_with_model(self, kernel_id: str) -> None:
        model = self.kernel_manager.kernel_model(kernel_id)
        if self.access_to(kernel_id) == Access.OWNER:
            model["share"] = share_model(self.kernel_manager.get_kernel(kernel_id).ownership)
        self.finish(json.dumps(model, default=json_default))


class KernelWebsocketHandler(GatewayHandlerMixin, kernel_handlers.KernelWebsocketHandler):
    """Connects a client to its kernel."""

    audit_events = MappingProxyType({"GET": "attach"})
    connection: GatewayWebsocketConnection | None
    _is_open = False
    _has_left = False
    _credential: Credential
    _credential_watch: CredentialWatch | None = None

    @property
    def kernel_websocket_connection_class(self) -> Any:
        """The class of the connection, by what the client may do with the kernel."""
        if self.access_to(self.kernel_id) == Access.READ:
            return ReadOnlyConnection
        return super().kernel_websocket_connection_class

    async def pre_get(self) -> None:
        """Prepare the connection to the kernel, unless the client leaves meanwhile."""
        # Now: the client's certificate is not known from the request any longer once the websocket is open.
        self._credential = Credential.of(self.request)
        await super().pre_get()
        if self._has_left and self.connection is not None:
            self.connection.abandon()
            raise web.Finish

    async def open(self, kernel_id: str) -> None:
        """Connect to the kernel."""
        self._is_open = True
        self._credential_watch = CredentialWatch(
            self.identity,
            partial(self.settings["authenticator"].identify_again, self._credential),
            changed=self._take_identity,
            ended=self._end,
        )
        await super().open(kernel_id)
        kernels = self.kernel_manager
        access = self.access_to(kernel_id).name.lower()
        kernels.audit.record("attach", kernels.audited(kernel_id), actor=self.actor, access=access)

    def _take_identity(self, identity: Identity) -> None:
        self.identity = identity
        if self.connection is not None:
            self.connection.access_changed()

    def _end(self) -> None:
        """Disconnect a client whose credential is not valid any longer."""
        _log.info("%s: the client's credential is no longer valid", self._request_summary())
        if self.connection is not None:
            self.connection.expel("Your credential is no longer valid; connect again.")

    def on_close(self) -> None:
        """Disconnect from the kernel; upstream fails before the connection is made."""
        if self._credential_watch is not None:
            self._credential_watch.close()
        if self._is_open:
            super().on_close()
        else:
            self._has_left = True

    def get_websocket_protocol(self, *args: Any) -> Any:
        """Return the websocket's protocol, whose messages are bounded."""
        protocol = super().get_websocket_protocol(*args)
        if protocol is None:
            return None
        # Leave pings to jupyter_server: tornado would take the milliseconds for seconds.
        protocol.params.ping_interval = protocol.params.ping_timeout = None
        return BoundedWebSocketProtocol(self, protocol.params, self.kernel_manager.limits)

    def on_data(self, message: bytes, *, text: bool) -> Awaitable[None] | None:
        """Pass a message on; the next one is read when most of what came has left for the kernel."""
        if self.connection is None:
            return None
        self.connection.take(message, text=text)
        return self._pause(self.connection.wait_until_sent())

    def get_compression_options(self) -> None:
        """Offer no compression: the size of what is compressed is not known before it takes memory."""

    def on_too_large(self, message: bytes, size: int, *, text: bool) -> None:
        """Answer a message that is too large, of which only the beginning and the end are known."""
        if self.connection is not None:
            self.connection.refuse(message, size, text=text)

    def on_too_slow(self) -> None:
        """Disconnect a client whose message takes too long while others wait for the memory."""
        self.close(TRY_AGAIN_LATER, "The message took too long; try again.")

    def send_ping(self) -> None:
        """Send a ping, unless the client is busy reading, or is not read itself."""
        if self._is_paused or (self.connection is not None and self.connection.is_reading):
            self.on_pong(b"")
        else:
            # After a reset the stream is closed before this handler is informed.
            with contextlib.suppress(WebSocketClosedError):
                super().send_ping()

    _is_paused = False

    async def _pause(self, sent: Awaitable[None]) -> None:
        self._is_paused = True
        try:
            await sent
        finally:
            self._is_paused = False
            self.on_pong(b"")


class SessionRootHandler(StartingHandlerMixin, session_handlers.SessionRootHandler):
    """Starts and lists sessions."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        _require_listing(self)
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


class SessionHandler(GatewayHandlerMixin, session_handlers.SessionHandler):
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


class KernelSpecResourceHandler(GatewayHandlerMixin, resource_handlers.KernelSpecResourceHandler):
    """Serves the logos of kernelspecs, and no other file.

    A page or a script among them would act in the name of the client whose server passes it on, as
    JupyterLab's does.
    """

    @web.authenticated
    @authorized
    async def get(self, kernel_name: str, path: str, include_body: bool = True) -> None:
        if not _LOGO.fullmatch(path):
            raise web.HTTPError(404, "Only the logos of a kernelspec are served.")
        await super().get(kernel_name, path, include_body=include_body)

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - the same for all
        """Keep scripts in an SVG from running."""
        self.set_header("Content-Security-Policy", "sandbox")


class ReadinessHandler(GatewayHandlerMixin, web.RequestHandler):
    """`/readyz` for clients with the token: with a detail for each check."""

    def initialize(self, checks: HealthChecks) -> None:
        self._health_checks = checks

    def get(self) -> None:
        self._health_checks.answer(self, with_details=True)


class RefusalHandler(Refusal, GatewayHandlerMixin, JupyterHandler):
    """Answers what the server refuses, so that pages in browsers can read it."""

    write_error = GatewayHandlerMixin.write_error


class NotFoundHandler(GatewayHandlerMixin, web.RequestHandler):
    """Answers 404 to all other paths."""

    async def prepare(self) -> None:
        """Check the token, then refuse."""
        await super().prepare()
        raise web.HTTPError(404)


def _require_listing(handler: web.RequestHandler) -> None:
    if not handler.settings["kg_list_kernels"]:
        raise PolicyViolation("Listing is switched off on this gateway (KG_LIST_KERNELS).")
