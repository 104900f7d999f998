"""Network access: NetworkPolicies, Ingress, HTTPRoute, TLS, CORS."""

from ipaddress import ip_address, ip_network

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


def egress(**kernels):
    """Return the rules of kernels besides the gateway and DNS."""
    return policies({"networkPolicy": {"kernels": kernels}})[1]["egress"][2:]


def lets_through(rules, address, port=443):
    """Return whether one of these rules lets a connection to an address outside the cluster through."""
    ip = ip_address(address)
    blocks = [
        peer["ipBlock"]
        for rule in rules
        if "ports" not in rule or port in [each["port"] for each in rule["ports"]]
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    return any(
        ip in ip_network(block["cidr"])
        and not any(ip in ip_network(network) for network in block.get("except", ()))
        for block in blocks
    )


METADATA = {
    "the node's, of most clouds": "169.254.169.254",
    "GKE's metadata server": "169.254.169.252",
    "ECS credentials": "169.254.170.2",
    "EKS Pod Identity": "169.254.170.23",
    "EKS Pod Identity, IPv6": "fd00:ec2::23",
    "AWS, IPv6": "fd00:ec2::254",
    "Google, IPv6": "fd20:ce::254",
    "any link-local one, IPv6": "fe80::a9fe:a9fe",
    "the node's, through NAT64": "64:ff9b::a9fe:a9fe",
    "Azure's wire server, through NAT64": "64:ff9b::a83f:8110",
    "Alibaba, through NAT64": "64:ff9b::6464:64c8",
    "Oracle, through NAT64": "64:ff9b::c000:c0",
    "Azure's wire server": "168.63.129.16",
    "Alibaba": "100.100.100.200",
    "Oracle": "192.0.0.192",
    "a cache of DNS on the node": "169.254.20.10",
}
PRIVATE = [
    *("10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("100.64.0.1", "100.127.255.254", "198.18.0.1", "224.0.0.1", "240.0.0.1", "127.0.0.1"),
    *("fd00::1", "fc00::1", "ff02::1", "::1", "::ffff:10.0.0.1", "64:ff9b:1::a00:1"),
    *("64:ff9b::a00:1", "64:ff9b::c0a8:101", "64:ff9b::6440:1"),  # through NAT64
]
PUBLIC = [
    *("1.1.1.1", "9.255.255.255", "11.0.0.1", "172.15.255.255", "172.32.0.1", "192.169.0.1"),
    *("100.63.255.255", "100.128.0.1", "198.17.0.1", "198.20.0.1", "223.255.255.254"),
    *("2606:4700::1111", "2a00:1450::1", "64:ff9b::101:101"),
]


@pytest.mark.parametrize("preset", ["anywhere", "internetOnly"])
@pytest.mark.attack(18)
@pytest.mark.parametrize("address", METADATA.values(), ids=METADATA)
def test_no_preset_lets_kernels_reach_metadata(address, preset):
    rules = egress(egress=preset)
    assert not any(lets_through(rules, address, port) for port in (80, 443, 988))


def test_kernels_can_connect_anywhere_else_by_default():
    [anywhere] = egress()
    assert all(lets_through([anywhere], address) for address in [*PRIVATE, *PUBLIC])
    assert {"namespaceSelector": {}} in anywhere["to"]
    assert "ports" not in anywhere


def test_kernels_can_be_limited_to_the_internet():
    [public] = egress(egress="internetOnly")
    assert [a for a in PRIVATE if lets_through([public], a)] == []
    assert [a for a in PUBLIC if not lets_through([public], a)] == []
    assert all(peer.keys() == {"ipBlock"} for peer in public["to"])


@pytest.mark.parametrize("preset", ["anywhere", "internetOnly"])
def test_exceptions_lie_within_their_block(preset):
    """The API refuses others."""
    for peer in egress(egress=preset)[0]["to"]:
        block = peer.get("ipBlock", {"cidr": "::/0"})
        for network in block.get("except", ()):
            assert ip_network(network).subnet_of(ip_network(block["cidr"]))


@pytest.mark.parametrize("base", ["internetOnly", [], None])
def test_rules_can_be_added_to_a_preset_or_a_list(base):
    database = {"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}], "ports": [{"port": 5432}]}
    values = {"networkPolicy": {"kernels": {"egress": base, "extraEgress": [database]}}}
    _, kernels = policies(values)
    assert kernels["egress"][-1] == database
    assert len(kernels["egress"]) == (4 if base else 3)


GKE = {("169.254.169.252", 987), ("169.254.169.252", 988), ("169.254.169.254", 80)}
EKS = {("169.254.170.23", 80), ("fd00:ec2::23", 80)}
ANNOTATION = {"kernelServiceAccount": {"annotations": {"iam.gke.io/gcp-service-account": "a@b"}}}


@pytest.mark.parametrize(
    ("values", "opened"),
    [
        ({}, set()),
        ({"cloudIdentity": None}, set()),
        ({"cloudIdentity": "gke"}, GKE),
        ({"cloudIdentity": "gke", "egress": []}, GKE),
        ({"cloudIdentity": "eks-pod-identity"}, EKS),
        ({"cloudIdentity": "eks-pod-identity", "egress": "internetOnly"}, EKS),
    ],
)
def test_cloud_identity_opens_no_more_than_it_needs(values, opened):
    rules = egress(**values)
    candidates = {(a, port) for a in METADATA.values() for port in (22, 80, 443, 987, 988)}
    assert {each for each in candidates if lets_through(rules, *each)} == opened


def test_the_annotation_of_gke_implies_its_cloud_identity():
    _, kernels = policies(ANNOTATION)
    assert lets_through(kernels["egress"][2:], "169.254.169.252", 988)
    other = {"networkPolicy": {"kernels": {"cloudIdentity": "eks-pod-identity"}}}
    _, kernels = policies({**ANNOTATION, **other})
    assert not lets_through(kernels["egress"][2:], "169.254.169.252", 988)


def test_kernels_are_clients_of_the_gateway_on_request_only():
    assert render().env["GP_ALLOW_KERNELS"] == "False"
    assert render({"gateway": {"allowKernels": True}}).env["GP_ALLOW_KERNELS"] == "True"


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


@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        ("/", "/"),
        ("/team-a", "/team-a"),
        ("/team-a/", "/team-a"),
        ("/tools/jupyter/", "/tools/jupyter"),
    ],
)
def test_everything_that_leads_to_the_gateway_follows_its_base_url(base_url, path):
    rendered = render(
        {
            "gateway": {"baseUrl": base_url},
            "ingress": {"enabled": True, "hosts": ["a.example", "b.example"], "tlsSecret": "own"},
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "edge"}]},
        }
    )
    assert rendered.env["KG_BASE_URL"] == path
    ingress = rendered.one("Ingress")["spec"]
    assert [rule["host"] for rule in ingress["rules"]] == ["a.example", "b.example"]
    for rule in ingress["rules"]:
        [served] = rule["http"]["paths"]
        assert (served["path"], served["pathType"]) == (path, "Prefix")
    [rule] = rendered.one("HTTPRoute")["spec"]["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": path}}]
    [container] = rendered.one("Pod")["spec"]["containers"]
    [url] = [item["value"] for item in container["env"] if item["name"] == "JUPYTER_GATEWAY_URL"]
    assert url == "http://gateway-gateway-provisioners:8888" + path.rstrip("/")


def test_two_releases_share_a_host_name():
    ingress = {"enabled": True, "hosts": ["tools.example"]}
    specs = {}
    for team in ("team-a", "team-b"):
        values = {"gateway": {"baseUrl": f"/{team}"}, "ingress": ingress}
        rendered = render(values, release=team)
        assert rendered.one("Ingress")["metadata"]["name"].startswith(team)
        [rule] = rendered.one("Ingress")["spec"]["rules"]
        [path] = rule["http"]["paths"]
        specs[path["path"]] = path["backend"]["service"]["name"]
        assert specs[path["path"]] == rendered.one("Service")["metadata"]["name"]
    assert specs.keys() == {"/team-a", "/team-b"}


def test_probes_and_monitors_do_not_follow_the_base_url():
    rendered = render(
        {"gateway": {"baseUrl": "/team-a"}, "metrics": {"serviceMonitor": {"enabled": True}}}
    )
    probes = ("startupProbe", "readinessProbe", "livenessProbe")
    for request in (rendered.container[probe]["httpGet"] for probe in probes):
        assert request["port"] == "health"
        assert request["path"] in {"/healthz", "/readyz"}
    [endpoint] = rendered.one("ServiceMonitor")["spec"]["endpoints"]
    assert (endpoint["targetPort"], endpoint["path"]) == ("health", "/metrics")


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


def test_helm_test_gets_the_certificate_to_verify_without_its_key():
    def tester(values):
        return next(pod for pod in render(values).all("Pod"))["spec"]

    spec = tester(TLS)
    [container], [volume] = spec["containers"], spec["volumes"]
    items = [{"key": "tls.crt", "path": "tls.crt"}]
    assert volume["secret"] == {"secretName": "certificate", "items": items}
    [mount] = container["volumeMounts"]
    certificate = {"name": "GATEWAY_CERTIFICATE", "value": f"{mount['mountPath']}/tls.crt"}
    assert certificate in container["env"]
    without_tls = tester({})
    assert "volumes" not in without_tls
    assert "GATEWAY_CERTIFICATE" not in {
        each["name"] for each in without_tls["containers"][0]["env"]
    }


@pytest.mark.parametrize(
    ("policy", "expected"),
    [({}, "wanted"), ({"required": True}, "required"), ({"enabled": False}, None)],
)
def test_helm_test_tries_policies_where_there_are_any(policy, expected):
    pod = next(render({"networkPolicy": policy}).all("Pod"))
    env = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
    assert env.get("NETWORK_POLICIES") == expected


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
