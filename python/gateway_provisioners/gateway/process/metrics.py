"""Prometheus metrics of the gateway. The label `kernel` always holds the name of a real kernelspec."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client import Counter as CounterMetric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from tornado import web

from gateway_provisioners.gateway.failures import INTERNAL_REASON, known_cause

_PREFIX = "gateway_provisioners"
_START_BUCKETS = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 30, 60, 120, 300)


class GatewayMetrics:
    """The metrics of one gateway, in a registry of its own.

    Args:
        running_kernels: returns the kernelspec name of every kernel that is running.
        owners: returns the owner of each of them; "" for one of the administrators'.
    """

    def __init__(
        self, running_kernels: Callable[[], Iterable[str]], owners: Callable[[], Iterable[str]]
    ) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        # The name and the labels are those of jupyter_server.
        self._requests = Histogram(
            "http_request_duration_seconds",
            "Seconds from a request's headers to the end of its answer.",
            ["method", "handler", "status_code"],
            registry=self.registry,
        )
        self.registry.register(_RunningKernels(running_kernels, owners))
        self._starts = self._counter(
            "kernel_starts", "Kernels that clients asked for, whether they started or not."
        )
        self._start_failures = self._counter(
            "kernel_start_failures", "Kernels that did not start, by reason.", "reason"
        )
        self._start_seconds = Histogram(
            f"{_PREFIX}_kernel_start_seconds",
            "Seconds from the request to the kernel's connection information, of kernels that started.",
            ["kernel"],
            buckets=_START_BUCKETS,
            registry=self.registry,
        )
        self._restarts = self._counter(
            "kernel_restarts",
            "Restarts: `cause` is `request`, or `death` if the kernel ended by itself.",
            "cause",
        )
        self._restart_failures = self._counter(
            "kernel_restart_failures", "Restarts that failed, by reason.", "reason"
        )
        self._culled = self._counter(
            "kernels_culled",
            "Kernels that the gateway shut down: `cause` is `idle`, `lifetime`, `orphan`, or `dead` if a "
            "kernel could not be restarted.",
            "cause",
        )
        self._sent_away = self._counter(
            "clients_sent_away",
            "Clients that the gateway disconnected: `reason` is `slow` for one that does not read, `unsent` "
            "if the kernel does not take what it sends, `malformed` for its own messages, or `launcher` for "
            "those of its kernel's launcher.",
            "reason",
        )
        self._replaced = self._counter(
            "messages_replaced",
            "Messages that were dropped, or replaced by a sentence: `reason` is `too_large` for the gateway, "
            "`client_limit` if for the client, `rate`, `malformed`, or `unread` if more came than is kept "
            "for a client that is away or slow.",
            "reason",
        )

        self._identifications = CounterMetric(
            f"{_PREFIX}_identifications",
            "Credentials that clients showed, by method (`none`: not known): `outcome` is `accepted`, "
            "`rejected`, `unavailable` if they cannot be checked, or `throttled` if they were not looked at.",
            ["method", "outcome"],
            registry=self.registry,
        )
        self._audit_lines_lost = CounterMetric(
            f"{_PREFIX}_audit_lines_lost",
            "Lines of the audit log that could not be written, or not fast enough.",
            registry=self.registry,
        )

    def _counter(self, name: str, meaning: str, *labels: str) -> CounterMetric:
        return CounterMetric(
            f"{_PREFIX}_{name}", meaning, ["kernel", *labels], registry=self.registry
        )

    def request_finished(self, handler: web.RequestHandler) -> None:
        """Count a request; methods that no client of ours uses share a label."""
        method = handler.request.method
        self._requests.labels(
            method if method in web.RequestHandler.SUPPORTED_METHODS else "other",
            f"{type(handler).__module__}.{type(handler).__name__}",
            handler.get_status(),
        ).observe(handler.request.request_time())

    def start_requested(self, kernel: str) -> None:
        self._starts.labels(kernel).inc()

    def start_succeeded(self, kernel: str, seconds: float) -> None:
        self._start_seconds.labels(kernel).observe(seconds)

    def start_failed(self, kernel: str, error: BaseException) -> None:
        self._start_failures.labels(kernel, _reason(error)).inc()

    def restart_requested(self, kernel: str, *, died: bool) -> None:
        self._restarts.labels(kernel, "death" if died else "request").inc()

    def restart_failed(self, kernel: str, error: BaseException) -> None:
        self._restart_failures.labels(kernel, _reason(error)).inc()

    def culled(self, kernel: str, cause: str) -> None:
        self._culled.labels(kernel, cause).inc()

    def client_sent_away(self, kernel: str, reason: str) -> None:
        self._sent_away.labels(kernel, reason).inc()

    def messages_replaced(self, kernel: str, reason: str, count: int = 1) -> None:
        self._replaced.labels(kernel, reason).inc(count)

    def identified(self, method: str, outcome: str) -> None:
        self._identifications.labels(method, outcome).inc()

    def audit_lines_lost(self, count: int) -> None:
        self._audit_lines_lost.inc(count)


class _RunningKernels(Collector):
    """Counts when it is scraped: a gauge that is incremented and decremented drifts over time."""

    def __init__(
        self, running_kernels: Callable[[], Iterable[str]], owners: Callable[[], Iterable[str]]
    ) -> None:
        self._running_kernels = running_kernels
        self._owners = owners

    def collect(self) -> Iterator[GaugeMetricFamily]:
        users = set(self._owners()) - {""}
        yield GaugeMetricFamily(
            f"{_PREFIX}_users", "Users to whom running kernels belong.", value=len(users)
        )
        family = GaugeMetricFamily(
            f"{_PREFIX}_running_kernels", "Kernels that are running.", labels=["kernel"]
        )
        for kernel, count in Counter(self._running_kernels()).items():
            family.add_metric([kernel], count)
        yield family


class MetricsHandler(web.RequestHandler):
    """`/metrics`, in Prometheus' text format."""

    def initialize(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics

    def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(self._metrics.registry))


def _reason(error: BaseException) -> str:
    cause = known_cause(error)
    return cause.reason if cause else INTERNAL_REASON
