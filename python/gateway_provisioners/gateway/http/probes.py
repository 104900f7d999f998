"""The server of the port for probes and Prometheus."""

from __future__ import annotations

from tornado import web
from tornado.httputil import HTTPServerRequest

from gateway_provisioners.gateway.http.door import Refusal, Server
from gateway_provisioners.gateway.identity.identity import UNKNOWN, Identification
from gateway_provisioners.gateway.kernels.addresses import KernelAddresses
from gateway_provisioners.gateway.process.health import HealthChecks, HealthHandler, ReadyHandler
from gateway_provisioners.gateway.process.metrics import GatewayMetrics, MetricsHandler


def probe_server(checks: HealthChecks, metrics: GatewayMetrics, kernels: KernelAddresses) -> Server:
    """Return the server; its requests need no token, have no bodies and are not logged."""
    application = web.Application(
        [
            (r"/healthz", HealthHandler),
            (r"/readyz", ReadyHandler, {"checks": checks}),
            (r"/metrics", MetricsHandler, {"metrics": metrics}),
        ],
        log_function=lambda _handler: None,
    )
    return Server(application, refusal=Refusal, identify=_identify_none, kernels=kernels)


async def _identify_none(_request: HTTPServerRequest) -> Identification:
    return UNKNOWN
