"""examples/jupyterhub: the two charts fit each other."""

import json
from urllib.parse import urlsplit

import msgspec
import pytest
import yaml
from chart_rendering import REPOSITORY, render

from gateway_provisioners.gateway.identity.methods.jupyterhub import JupyterHubSettings

EXAMPLE = REPOSITORY / "examples/jupyterhub"
# Labels that KubeSpawner and the chart jupyterhub give to each user's server.
SERVER_LABELS = {
    "app.kubernetes.io/name": "jupyterhub",
    "app.kubernetes.io/instance": "jupyterhub",
    "app.kubernetes.io/component": "singleuser-server",
    "app.kubernetes.io/managed-by": "kubespawner",
    "hub.jupyter.org/network-access-hub": "true",
}


def values(name):
    return yaml.safe_load((EXAMPLE / name).read_text())


@pytest.fixture(scope="module")
def gateway():
    return render(values("gateway-values.yaml"), release="gateway", namespace="jupyterhub")


def selects(peer, labels):
    """Return whether a peer in a NetworkPolicy is pods of the same namespace with these labels."""
    assert peer.keys() == {"podSelector"}
    return peer["podSelector"]["matchLabels"].items() <= labels.items()


def test_servers_find_the_gateways_service(gateway):
    url = urlsplit(values("values.yaml")["singleuser"]["extraEnv"]["JUPYTER_GATEWAY_URL"])
    service = gateway.one("Service")
    assert url.hostname == service["metadata"]["name"]
    assert url.port == service["spec"]["ports"][0]["port"]
    assert url.scheme == "http"


def test_servers_may_connect_to_the_gateway_and_no_other_pod(gateway):
    [rule] = values("values.yaml")["singleuser"]["networkPolicy"]["egress"]
    [peer], [port] = rule["to"], rule["ports"]
    assert selects(peer, gateway.pod["metadata"]["labels"])
    assert not selects(peer, SERVER_LABELS)
    ports = {each["name"]: each["containerPort"] for each in gateway.container["ports"]}
    assert port == {"port": ports["http"], "protocol": "TCP"}


def test_the_gateway_lets_servers_connect_and_reaches_the_hub(gateway):
    [policy] = [
        policy["spec"]
        for policy in gateway.all("NetworkPolicy")
        if policy["spec"]["podSelector"]["matchLabels"].items()
        <= gateway.pod["metadata"]["labels"].items()
    ]
    [rule] = [rule for rule in policy["ingress"] if rule["ports"][0]["port"] == "http"]
    assert any(selects(peer, SERVER_LABELS) for peer in rule["from"])
    assert not any(selects(peer, {"app.kubernetes.io/name": "jupyterhub"}) for peer in rule["from"])
    assert "Egress" not in policy["policyTypes"]
    assert gateway.pod["metadata"]["labels"]["hub.jupyter.org/network-access-hub"] == "true"


def test_the_method_is_the_default_one_for_the_hubs_service(gateway):
    [(name, settings)] = json.loads(gateway.env["GP_AUTH_METHODS"]).items()
    method = msgspec.convert(settings, JupyterHubSettings)
    assert (name, method.api_url) == ("hub", "http://hub:8081/hub/api")
    assert method.required_scopes == ("access:servers!server=USER/",)
    assert method.services == ()
