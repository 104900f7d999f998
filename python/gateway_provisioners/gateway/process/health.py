"""Liveness and readiness of the gateway, for probes, and so without the token."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tornado import web

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """The state of one part of the gateway; `detail` is for operators, and holds no secret."""

    ok: bool
    detail: str = ""


class HealthChecks:
    """The named checks that make up readiness. A check reads cached state: it does no I/O."""

    def __init__(self) -> None:
        self._checks: dict[str, Callable[[], Check]] = {}
        self._failing: set[str] = set()

    def add(self, name: str, check: Callable[[], Check]) -> None:
        """Make `check` a part of readiness."""
        self._checks[name] = check

    def results(self) -> dict[str, Check]:
        """Make all checks; one that has begun or ceased to fail is logged."""
        results = {name: check() for name, check in self._checks.items()}
        for name, check in results.items():
            if not check.ok and name not in self._failing:
                self._failing.add(name)
                _log.warning("Not ready: %s: %s", name, check.detail or "failed")
            elif check.ok and name in self._failing:
                self._failing.discard(name)
                _log.info("Ready again: %s", name)
        return results

    def answer(self, handler: web.RequestHandler, *, with_details: bool) -> None:
        """Answer 200 if every check is ok, else 503; the body has the result of each."""
        results = self.results()
        ok = all(check.ok for check in results.values())
        checks: dict[str, dict[str, Any]] = {
            name: {"ok": check.ok, **({"detail": check.detail} if with_details else {})}
            for name, check in results.items()
        }
        handler.set_status(200 if ok else 503)
        handler.set_header("Content-Type", "application/json")
        handler.finish(json.dumps({"ok": ok, "checks": checks}))


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
    """`/readyz` of the port for probes: without the details, since it asks for no token."""

    def initialize(self, checks: HealthChecks) -> None:
        self._health_checks = checks

    def get(self) -> None:
        self._health_checks.answer(self, with_details=False)
