"""Sessions: the notebooks of clients and their kernels, as far as clients name them."""

from __future__ import annotations

from typing import Any

from kernel_gateway.services.sessions.sessionmanager import SessionManager


class GatewaySessionManager(SessionManager):
    """jupyter_kernel_gateway's, which keeps the sessions of kernels that have ended by themselves."""

    _sessions: list[dict[str, Any]]

    def list_sessions(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the sessions whose kernels exist."""
        self._forget_ended()
        sessions: list[dict[str, Any]] = super().list_sessions(*args, **kwargs)
        return sessions

    def of_notebook(self, path: str) -> dict[str, Any] | None:
        """Return the model of a notebook's session, or None."""
        self._forget_ended()
        row = self.get_session_by_key("path", path)
        return None if row is None else self._model(row)

    def add(self, path: str, kernel_id: str) -> dict[str, Any]:
        """Add a session, and return its model."""
        row = {"session_id": self.new_session_id(), "path": path, "kernel_id": kernel_id}
        self._sessions.append(row)
        return self._model(row)

    def _model(self, row: dict[str, Any]) -> dict[str, Any]:
        model: dict[str, Any] = self.row_to_model(row)
        return model

    def _forget_ended(self) -> None:
        self._sessions = [row for row in self._sessions if row["kernel_id"] in self.kernel_manager]
