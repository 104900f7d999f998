"""docs/clusters.md: values that render, without a null, and the effect that the page promises."""

import re

import pytest
import yaml
from chart_rendering import REPOSITORY, render

PAGE = (REPOSITORY / "docs" / "clusters.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)+)", PAGE, re.MULTILINE))
EXAMPLES = {
    name: yaml.safe_load(text)
    for name, section in SECTIONS.items()
    for text in re.findall(r"^```yaml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
}
PLATFORMS = {
    *("EKS", "GKE", "AKS", "OpenShift", "k3s", "kind", "Air-gapped", "Argo CD", "Flux"),
    *("Umbrella charts", "Karpenter", "Kueue", "Istio", "IPv6"),
}


def test_every_platform_has_five_lines():
    assert set(SECTIONS) == PLATFORMS
    for name, section in SECTIONS.items():
        assert re.findall(r"^(\d)\. ", section, re.MULTILINE) == list("12345"), name


@pytest.mark.parametrize("values", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_values_of_each_platform_render(values):
    assert render(values).objects
    assert "null" not in yaml.safe_dump(values)


def test_labels_keep_both_sides_out_of_the_mesh():
    rendered = render(EXAMPLES["Istio"])
    labels = rendered.pod["metadata"]["labels"]
    assert labels["sidecar.istio.io/inject"] == "false"
    config = rendered.kernelspecs["python3"]["metadata"]["kernel_provisioner"]["config"]
    assert config["pod_template"]["metadata"]["labels"].items() <= labels.items()


def test_route_leads_to_the_service():
    rendered = render(EXAMPLES["OpenShift"])
    spec = rendered.one("Route")["spec"]
    service = rendered.one("Service")
    assert spec["to"]["name"] == service["metadata"]["name"]
    assert spec["port"]["targetPort"] == service["spec"]["ports"][0]["targetPort"]
