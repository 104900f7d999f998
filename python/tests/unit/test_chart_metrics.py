"""Monitors that select the gateways, and a dashboard and alerts that only use existing metrics."""

import json
import re

import pytest
from chart_rendering import render
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway_provisioners.errors import ClusterError
from gateway_provisioners.gateway.process.metrics import GatewayMetrics

# Added by Prometheus, and by its operator.
PROMETHEUS_SAMPLES = {"up": set()}
PROMETHEUS_LABELS = {"namespace", "pod"}


def samples():
    """Return the name of each sample of a gateway, with its labels."""
    metrics = GatewayMetrics(lambda: ["python3"], lambda: ["alice"])
    metrics.start_requested("python3")
    metrics.start_succeeded("python3", 1.0)
    metrics.start_failed("python3", ClusterError("away"))
    metrics.restart_requested("python3", died=True)
    metrics.restart_failed("python3", ClusterError("away"))
    metrics.culled("python3", "idle")
    metrics.client_sent_away("python3", "slow")
    metrics.messages_replaced("python3", "too_large")
    metrics.identified("people", "accepted")
    metrics._requests.labels("GET", "x", 200).observe(1)
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    found = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return {**found, **PROMETHEUS_SAMPLES}


def dashboard():
    rendered = render({"metrics": {"dashboard": {"enabled": True}}})
    [item] = [
        item
        for item in rendered.all("ConfigMap")
        if item["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    [text] = item["data"].values()
    return json.loads(text)


def dashboard_expressions():
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


def rules(**options):
    rule = render({"metrics": {"prometheusRule": {"enabled": True}}}, **options)
    [group] = rule.one("PrometheusRule")["spec"]["groups"]
    return group["rules"]


def expressions():
    yield from ((title, expr) for title, expr, _ in dashboard_expressions())
    yield from ((rule["alert"], rule["expr"]) for rule in rules())


@pytest.mark.parametrize(("where", "expression"), [*expressions()], ids=lambda text: text[:40])
def test_every_metric_and_label_exists(where, expression):
    known = samples()
    used = re.findall(r"([a-z_]+)\{([^}]*)\}", expression)
    assert used, where
    labels = set()
    for metric, matchers in used:
        assert metric in known, where
        own = known[metric] | PROMETHEUS_LABELS
        assert set(re.findall(r"(\w+)=", matchers)) <= own, where
        labels |= own
    for grouping in re.findall(r"by \(([^)]*)\)", expression):
        assert set(re.split(", *", grouping)) <= labels, where
    # Counters are only used with their rate of increase.
    assert all(
        "rate(" in expression or "increase(" in expression for m, _ in used if m[-6:] == "_total"
    )


def test_legends_use_labels_of_their_expressions():
    for title, expression, legend in dashboard_expressions():
        kept = " ".join(re.findall(r"by \(([^)]*)\)", expression)) or "pod"
        assert set(re.findall(r"{{(\w+)}}", legend)) <= set(re.split(r"\W+", kept)), title


def test_every_metric_of_the_gateway_is_on_the_dashboard():
    shown = " ".join(expression for _, expression, _ in dashboard_expressions())
    own = {name for name in samples() if name.startswith("gateway_provisioners_")}
    endings = r"_(created|sum|count)$"
    assert [name for name in own if not re.search(endings, name) and name not in shown] == []


def test_dashboard_variables_are_declared():
    text = json.dumps(dashboard())
    declared = {variable["name"] for variable in dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", text))
    assert used == declared


def test_alerts_select_this_release():
    for rule in rules(release="r", namespace="ns"):
        for matchers in re.findall(r"\{([^}]*)\}", rule["expr"]):
            assert 'namespace="ns"' in matchers
            assert 'pod=~"r-gateway-provisioners-.+"' in matchers
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_slow_start_alert_follows_the_launch_timeout():
    values = {"metrics": {"prometheusRule": {"enabled": True}}, "gateway": {"launchTimeout": 91}}
    [group] = render(values).one("PrometheusRule")["spec"]["groups"]
    [slow] = [rule["expr"] for rule in group["rules"] if rule["alert"] == "KernelStartsSlow"]
    assert slow.endswith("> 45.5")


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_monitors_find_the_gateways(kind):
    switch = kind[0].lower() + kind[1:]
    values = {"labels": {"release": "prometheus"}, "interval": "15s", switch: {"enabled": True}}
    rendered = render({"metrics": values})
    monitor = rendered.one(kind)
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    selector = monitor["spec"]["selector"]["matchLabels"]
    found = rendered.one("Service")["metadata"] if switch[0] == "s" else rendered.pod["metadata"]
    assert selector.items() <= found["labels"].items()
    endpoints = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}[kind]
    # The Service does not have the port: users connect to it.
    port = {"ServiceMonitor": "targetPort", "PodMonitor": "port"}[kind]
    assert monitor["spec"][endpoints] == [{port: "health", "path": "/metrics", "interval": "15s"}]
    assert [port["name"] for port in rendered.one("Service")["spec"]["ports"]] == ["http"]
    assert {"name": "health", "containerPort": 8889, "protocol": "TCP"} in rendered.container[
        "ports"
    ]


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_monitors_use_plain_http_also_with_tls_at_the_gateway(kind):
    switch = kind[0].lower() + kind[1:]
    rendered = render(
        {
            "metrics": {switch: {"enabled": True}},
            "gateway": {"tls": {"existingSecret": "certificate"}},
        }
    )
    endpoints = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}[kind]
    [endpoint] = rendered.one(kind)["spec"][endpoints]
    assert not {"scheme", "tlsConfig"} & endpoint.keys()
