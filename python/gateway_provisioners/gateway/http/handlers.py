"""The base of the gateway's HTTP handlers, and those that do not concern a kernel.

They are jupyter_server's, behind our check of credentials and with our error answers.
"""

from __future__ import annotations

import inspect
import json
import logging
import uuid
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from gateway_provisioners.errors import GatewayStopping, PolicyViolation
from gateway_provisioners.gateway.failures import describe, known_cause, summarize
from gateway_provisioners.gateway.http.access_log import request_summary
from gateway_provisioners.gateway.http.auditing import AuditingMixin
from gateway_provisioners.gateway.http.auth import identification_of
from gateway_provisioners.gateway.http.door import Refusal
from gateway_provisioners.gateway.identity.identity import Identity, NotIdentified
from gateway_provisioners.gateway.process.health import HealthChecks
from gateway_provisioners.model.ownership import Access

_log = logging.getLogger(__name__)

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
                error = identification.error or NotIdentified("A credential is missing.")
                # Not raised itself: it would keep this handler alive, whose request has it.
                raise web.HTTPError(error.http_status) from error
            self.identity = identification.identity
            if self.settings["draining"].is_set():
                self.set_header("Connection", "close")
                raise GatewayStopping("This gateway is shutting down; try again.")
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
            missing = self._missing_kernel(kernel_id)
        else:
            return
        access = self.access_to(kernel_id)
        if access == Access.NONE:
            raise web.HTTPError(404, missing)
        needed = self.needed_access.get(self.request.method or "", Access.FULL)
        if access < needed:
            raise PolicyViolation(_REFUSALS[needed])

    def _missing_kernel(self, kernel_id: str) -> str:
        """Return the message about a kernel that does not exist; its former owner learns why."""
        missing = missing_kernel(kernel_id)
        former = self.settings["kernel_manager"].former
        owner = former.owner_of(kernel_id)
        if owner is None or self.identity.access_to(owner) < Access.OWNER:
            return missing
        return f"{former.why(kernel_id)} {missing}".lstrip()

    async def find_kernel(self, kernel_id: str) -> None:
        """Look for a kernel that another gateway may have only just started.

        For another user's kernel the gateway looks as well, for one that does not exist: otherwise the time
        of the answer would show that the kernel exists.
        """
        kernels = self.settings["kernel_manager"]
        if kernels.ownership_of(kernel_id) and self.access_to(kernel_id) == Access.NONE:
            await kernels.peers.find(str(uuid.uuid4()))
        elif kernel_id not in kernels:
            await kernels.peers.find(kernel_id)

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
        message = self.settings["contact"].added_to(failure.message, known_cause(error))
        self.finish(json.dumps({"reason": failure.reason, "message": message}))

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


class ElsewhereHandler(GatewayHandlerMixin, web.RequestHandler):
    """Answers 404 to paths that are not below the base URL, and names that."""

    def initialize(self, base_url: str) -> None:
        self._base_url = base_url

    async def prepare(self) -> None:
        """Check the token, then refuse."""
        await super().prepare()
        raise web.HTTPError(404, f"The paths of this gateway begin with {self._base_url}.")


def missing_kernel(kernel_id: str) -> str:
    """Return the one message about a kernel that does not exist, or that the client may not know of."""
    return f"Kernel does not exist: {kernel_id}"


def require_listing(handler: web.RequestHandler) -> None:
    """Refuse to list kernels or sessions if that is switched off.

    Raises:
        PolicyViolation: it is.
    """
    if not handler.settings["kg_list_kernels"]:
        raise PolicyViolation("Listing is switched off on this gateway (KG_LIST_KERNELS).")
