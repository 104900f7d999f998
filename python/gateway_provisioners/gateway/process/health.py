"""Liveness and readiness of the gateway, for probes, and so without the token."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from tornado import web


@dataclass(frozen=True)
class Check:
    """The state of one part of the gateway; `detail` is for people and holds no secret."""

    ok: bool
    detail: str = ""


class HealthChecks:
    """The named checks that make up readiness. A check reads cached state: it does no I/O."""

    def __init__(self) -> None:
        self._checks: dict[str, Callable[[], Check]] = {}

    def add(self, name: str, check: Callable[[], Check]) -> None:
        """Make `check` a part of readiness."""
        self._checks[name] = check

    def results(self) -> dict[str, Check]:
        return {name: check() for name, check in self._checks.items()}


class HealthHandler(web.RequestHandler):
    """`/healthz`: the process runs and its event loop answers. The answer is empty."""

    def get(self) -> None:
        self.finish()


class MovedHandler(web.RequestHandler):
    """Answers on the port of clients, in place of what is on the port for probes."""

    def initialize(self, health_port: int) -> None:
        self._health_port = health_port

    def get(self) -> None:
        self.set_status(404)
        message = f"{self.request.path} is served on port {self._health_port} (KG_HEALTH_PORT)."
        self.finish({"reason": "Not Found", "message": message})


class ReadyHandler(web.RequestHandler):
    """`/readyz`: 200 if every check is ok, else 503; the body has the result of each."""

    def initialize(self, checks: HealthChecks) -> None:
        self._health_checks = checks

    def get(self) -> None:
        results = self._health_checks.results()
        ok = all(check.ok for check in results.values())
        self.set_status(200 if ok else 503)
        self.set_header("Content-Type", "application/json")
        checks = {name: {"ok": check.ok, "detail": check.detail} for name, check in results.items()}
        self.finish(json.dumps({"ok": ok, "checks": checks}))
