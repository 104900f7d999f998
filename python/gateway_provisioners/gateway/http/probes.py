"""What is served on the port for probes and Prometheus."""

from __future__ import annotations

from tornado import web

from gateway_provisioners.gateway.process.health import HealthChecks, HealthHandler, ReadyHandler
from gateway_provisioners.gateway.process.metrics import GatewayMetrics, MetricsHandler


def health_application(checks: HealthChecks, metrics: GatewayMetrics) -> web.Application:
    """Return the application; its requests need no token and are not logged."""
    return web.Application(
        [
            (r"/healthz", HealthHandler),
            (r"/readyz", ReadyHandler, {"checks": checks}),
            (r"/metrics", MetricsHandler, {"metrics": metrics}),
        ],
        log_function=lambda _handler: None,
    )
