"""The audit of requests: in whose name they are carried out, and which were refused."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import ClassVar

from kernel_gateway.mixins import CORSMixin

from gateway_provisioners.gateway.http.auth import identification_of
from gateway_provisioners.gateway.identity.identity import NotIdentified
from gateway_provisioners.gateway.process.audit import Actor, AuditedKernel, act_as

_REQUEST = "request"
# The reason of a refusal that says 404 to the client, so that it does not learn that the kernel exists.
_FOREIGN = "ForeignKernel"
# Of a request that only reads; other errors are mistakes.
_REFUSALS = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)


class AuditingMixin(CORSMixin):
    """Records the refusals of a handler; the kernel manager records what is carried out.

    Attributes:
        audit_events: by HTTP method, what its requests do with kernels; others only read.
        refusal_reason: the reason in the answer, if it is an error.
    """

    audit_events: ClassVar[Mapping[str, str]] = MappingProxyType({})
    refusal_reason = ""
    actor: Actor | None = None

    def begin_audit(self) -> None:
        """Let what this request does be recorded in the name of its client."""
        identity = identification_of(self.request).identity
        self.actor = Actor(address=str(self.request.remote_ip))
        if identity is not None:
            self.actor.user = identity.name
            self.actor.method = identity.method
            self.actor.is_admin = identity.is_admin
        act_as(self.actor)

    def on_finish(self) -> None:
        """Record a refusal, unless what was tried is recorded already."""
        if self.actor is not None:
            self.actor.is_acting = False
            if self.get_status() >= 400 and not self.actor.is_recorded:
                self._record_refusal(self.actor)
        super().on_finish()

    def _record_refusal(self, actor: Actor) -> None:
        if not self._counts():
            return
        kernels = self.settings["kernel_manager"]
        kernel_id = self._kernel_id()
        status, reason = self.get_status(), self.refusal_reason
        if status == HTTPStatus.NOT_FOUND and kernels.ownership_of(kernel_id) is not None:
            reason = _FOREIGN
        event = self.path_kwargs.get("action") or self.audit_events.get(
            self.request.method or "", _REQUEST
        )
        if event != _REQUEST or status in _REFUSALS or reason == _FOREIGN:
            kernel = kernels.audited(kernel_id) if kernel_id else AuditedKernel()
            kernels.audit.record_failure(event, kernel, status, reason, actor=actor)

    def _counts(self) -> bool:
        """Return whether the client is known, or has shown a credential that is wrong.

        There are few of the latter, see `Throttle`; strangers cannot fill the log.
        """
        identification = identification_of(self.request)
        error = identification.error
        return identification.identity is not None or (
            isinstance(error, NotIdentified) and error.is_attempt
        )

    def _kernel_id(self) -> str:
        """Return the id of the kernel that the path names; "" if it names none."""
        if session_id := self.path_kwargs.get("session_id"):
            return self.settings["session_manager"].kernel_of(session_id) or ""
        return self.path_kwargs.get("kernel_id") or ""
