"""Sessions: the notebooks of clients and their kernels, as far as clients name them."""

from __future__ import annotations

from typing import Any

from kernel_gateway.services.sessions.sessionmanager import SessionManager


class GatewaySessionManager(SessionManager):
    """jupyter_kernel_gateway's, whose list fails once for each kernel that ended by itself."""

    _sessions: list[dict[str, Any]]

    def list_sessions(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the sessions whose kernels exist."""
        self._sessions = [row for row in self._sessions if row["kernel_id"] in self.kernel_manager]
        sessions: list[dict[str, Any]] = super().list_sessions(*args, **kwargs)
        return sessions
