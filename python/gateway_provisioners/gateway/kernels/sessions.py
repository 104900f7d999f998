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

    def of_notebook(self, path: str, owner: str) -> dict[str, Any] | None:
        """Return the model of the session of a notebook, or None; each owner has notebooks of their own."""
        self._forget_ended()
        for row in self._sessions:
            ownership = self.kernel_manager.ownership_of(row["kernel_id"])
            if row["path"] == path and ownership.owner == owner:
                return self._model(row)
        return None

    def kernel_of(self, session_id: str) -> str | None:
        """Return the id of a session's kernel, or None if the session does not exist."""
        self._forget_ended()
        row = self.get_session_by_key("session_id", session_id)
        return None if row is None else str(row["kernel_id"])

    def model(self, session_id: str) -> dict[str, Any]:
        """Return the model of a session that exists."""
        return self._model(self.get_session_by_key("session_id", session_id))

    def change_path(self, session_id: str, path: str) -> None:
        """Change the path of the notebook of a session that exists."""
        self.update_session(session_id, path=path)

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
