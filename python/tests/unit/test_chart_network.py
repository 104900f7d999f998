"""Network access: NetworkPolicies, Ingress, HTTPRoute, TLS, CORS."""

import pytest
from chart_rendering import chart_values, render

from gateway_provisioners.model.pod.manifest import labels

TLS = {"gateway": {"tls": {"existingSecret": "certificate"}}}
ISSUER = {"kind": "ClusterIssuer", "name": "internal"}


def policies(values=None, **options):
    """Return the policies of the gateway and of kernels."""
    found = {
        item["metadata"]["labels"]["app.kubernetes.io/component"]: item["spec"]
        for item in render(values, **options).all("NetworkPolicy")
    }
    return found["gateway"], found["kernels"]


def selected(peer):
    return peer["podSelector"]["matchLabels"].items()


def test_policies_select_the_right_pods():
    rendered = render(release="r")
    gateway, kernels = policies(release="r")
    gateway_labels = rendered.pod["metadata"]["labels"]
    kernel_labels = labels(rendered.env["GP_INSTANCE"], "0000")
    assert selected(gateway) <= gateway_labels.items()
    assert selected(kernels) <= kernel_labels.items()
    assert not selected(gateway) <= kernel_labels.items()
    assert not selected(kernels) <= gateway_labels.items()


def test_only_the_gateway_connects_to_kernels():
    gateway, kernels = policies()
    [rule] = kernels["ingress"]
    assert rule == {"from": [{"podSelector": gateway["podSelector"]}]}
    assert "Ingress" in kernels["policyTypes"]


def test_only_kernels_can_report_to_the_gateway():
    gateway, kernels = policies()
    http, health, response = gateway["ingress"]
    assert http == {"ports": [{"port": "http", "protocol": "TCP"}]}
    assert health == {"ports": [{"port": "health", "protocol": "TCP"}]}
    assert response == {
        "from": [{"podSelector": kernels["podSelector"]}],
        "ports": [{"port": "response", "protocol": "TCP"}],
    }
    report = kernels["egress"][0]
    assert report["to"] == [{"podSelector": gateway["podSelector"]}]
    assert str(report["ports"][0]["port"]) == render().env["GP_RESPONSE_PORT"]


@pytest.mark.parametrize("egress", [None, []])
def test_kernels_always_have_dns(egress):
    values = {} if egress is None else {"networkPolicy": {"kernels": {"egress": egress}}}
    _, kernels = policies(values)
    dns = kernels["egress"][1]
    assert "to" not in dns
    assert {(each["port"], each["protocol"]) for each in dns["ports"]} == {
        *((53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP"))
    }


def test_kernels_can_connect_anywhere_except_node_credentials():
    _, kernels = policies()
    _report, _dns, anywhere = kernels["egress"]
    blocks = [peer["ipBlock"] for peer in anywhere["to"] if "ipBlock" in peer]
    assert {block["cidr"]: block["except"] for block in blocks} == {
        "0.0.0.0/0": ["169.254.169.254/32"],
        "::/0": ["fd00:ec2::254/128"],
    }
    assert {"namespaceSelector": {}} in anywhere["to"]
    assert "ports" not in anywhere


def test_kernel_egress_can_be_limited_to_gateway_and_dns():
    _, kernels = policies({"networkPolicy": {"kernels": {"egress": []}}})
    assert len(kernels["egress"]) == 2
    assert "Egress" in kernels["policyTypes"]


def test_additional_peers_may_connect():
    ingress = {"namespaceSelector": {"matchLabels": {"name": "ingress"}}}
    monitoring = {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}
    executors = {"podSelector": {"matchLabels": {"spark-role": "executor"}}}
    values = {
        "networkPolicy": {
            "gateway": {"from": [ingress], "metricsFrom": [monitoring]},
            "kernels": {"from": [executors]},
        }
    }
    gateway, kernels = policies(values)
    http, health, response = gateway["ingress"]
    assert http["from"][0] == ingress
    assert health["from"] == [monitoring]
    assert len(response["from"]) == 1
    assert kernels["ingress"][0]["from"][1:] == [executors]


def test_port_without_token_is_never_more_open_than_the_one_with():
    ingress = {"namespaceSelector": {"matchLabels": {"name": "ingress"}}}
    gateway, _ = policies({"networkPolicy": {"gateway": {"from": [ingress]}}})
    _, health, _ = gateway["ingress"]
    assert health["from"] == [ingress]


def test_service_and_routes_lead_to_the_port_with_the_token_only():
    values = {
        "gateway": {"service": {"type": "LoadBalancer"}},
        "ingress": {"enabled": True},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "edge"}]},
    }
    rendered = render(values)
    [port] = rendered.one("Service")["spec"]["ports"]
    assert port["targetPort"] == "http"
    [rule] = rendered.one("Ingress")["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"]["port"] == {"name": "http"}
    [rule] = rendered.one("HTTPRoute")["spec"]["rules"]
    assert rule["backendRefs"][0]["port"] == port["port"]


def test_gateway_egress_is_only_restricted_on_request():
    gateway, _ = policies()
    assert gateway["policyTypes"] == ["Ingress"]
    api = {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [{"port": 6443}]}
    gateway, kernels = policies({"networkPolicy": {"gateway": {"egress": [api]}}})
    assert gateway["policyTypes"] == ["Ingress", "Egress"]
    assert gateway["egress"] == [{"to": [{"podSelector": kernels["podSelector"]}]}, api]


def test_policies_can_be_disabled():
    assert not list(render({"networkPolicy": {"enabled": False}}).all("NetworkPolicy"))


def test_ingress_for_each_host():
    values = {"enabled": True, "hosts": ["a.example", "b.example"], "tlsSecret": "certificate"}
    rendered = render({"ingress": values})
    spec = rendered.one("Ingress")["spec"]
    assert [rule["host"] for rule in spec["rules"]] == values["hosts"]
    assert spec["tls"] == [{"secretName": "certificate", "hosts": values["hosts"]}]
    service = rendered.one("Service")
    for rule in spec["rules"]:
        [path] = rule["http"]["paths"]
        assert path["backend"]["service"]["name"] == service["metadata"]["name"]
        assert path["backend"]["service"]["port"]["name"] == service["spec"]["ports"][0]["name"]


def test_ingress_for_any_host():
    spec = render({"ingress": {"enabled": True}}).one("Ingress")["spec"]
    [rule] = spec["rules"]
    assert rule.keys() == {"http"}
    assert "ingressClassName" not in spec


def test_http_route_to_the_service_without_a_timeout():
    route = {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["a.example"]}
    rendered = render({"httpRoute": route, "gateway": {"service": {"port": 80}}})
    spec = rendered.one("HTTPRoute")["spec"]
    assert spec["parentRefs"] == route["parentRefs"]
    assert spec["hostnames"] == route["hostnames"]
    [rule] = spec["rules"]
    assert rule["timeouts"] == {"request": "0s"}
    assert rule["backendRefs"] == [
        {"name": rendered.one("Service")["metadata"]["name"], "port": 80}
    ]


def test_tls_with_an_existing_secret():
    rendered = render(TLS)
    [volume] = [each for each in rendered.pod["spec"]["volumes"] if each["name"] == "tls"]
    [mount] = [each for each in rendered.container["volumeMounts"] if each["name"] == "tls"]
    assert volume["secret"] == {"secretName": "certificate"}
    # A single mounted file would not be updated on renewal.
    assert "subPath" not in mount
    assert rendered.env["KG_CERTFILE"] == f"{mount['mountPath']}/tls.crt"
    assert rendered.env["KG_KEYFILE"] == f"{mount['mountPath']}/tls.key"
    assert rendered.one("Service")["spec"]["ports"][0]["appProtocol"] == "https"
    assert not list(rendered.all("Certificate"))


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
@pytest.mark.parametrize("values", [{}, TLS], ids=["http", "tls"])
def test_probes_use_the_port_for_probes(probe, values):
    request = render(values).container[probe]["httpGet"]
    assert request["port"] == "health"
    assert "scheme" not in request


def test_cert_manager_certificate_names_the_service():
    tls = {"certManager": {"issuerRef": ISSUER, "dnsNames": ["localhost"]}}
    rendered = render({"gateway": {"tls": tls}})
    certificate = rendered.one("Certificate")["spec"]
    service = rendered.one("Service")["metadata"]["name"]
    assert certificate["issuerRef"] == ISSUER
    assert certificate["dnsNames"] == [
        *(f"{service}.notebooks.svc", f"{service}.notebooks", service, "localhost")
    ]
    [volume] = [each for each in rendered.pod["spec"]["volumes"] if each["name"] == "tls"]
    assert volume["secret"]["secretName"] == certificate["secretName"]


def test_origins_reach_the_gateway():
    origins = ["https://lab.example.com", "http://localhost:8000"]
    rendered = render({"gateway": {"cors": {"allowedOrigins": origins}}})
    assert rendered.env["GP_ALLOWED_ORIGINS"].split(",") == origins
    assert chart_values()["gateway"]["cors"]["allowedOrigins"] == []
