"""What `make lint` asks of rendered objects: that it finds what it is there to find."""

import copy
import json
import subprocess

import pytest
import yaml
from chart_rendering import executable, render

from ci.check_manifests import Loader, kubernetes_versions, problems
from gateway_provisioners.model.pod.manifest import KernelPodSpec, build_pod


def thing(api_version, kind, **fields):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, **fields}


def pod(**spec):
    return thing("v1", "Pod", spec={"containers": [{"name": "a", "image": "a"}], **spec})


def test_every_minor_version_is_there_from_the_charts_oldest_on():
    first, *others = (int(version.removeprefix("1.")) for version in kubernetes_versions())
    assert first == 30
    assert others == list(range(31, 31 + len(others)))
    assert others[-1] >= 37


UNEXPECTED = "Additional properties are not allowed ('{}' was unexpected)"


@pytest.mark.parametrize(
    ("item", "where", "what"),
    [
        (pod(hostname=1), "1.30", "$.spec.hostname: 1 is not of type 'string', 'null'"),
        # Came with 1.32, and went with it.
        (pod(resources={}), "1.30", f"$.spec: {UNEXPECTED.format('resources')}"),
        (
            thing("flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema"),
            "1.32",
            "there is no flowcontrol.apiserver.k8s.io/v1beta3",
        ),
        (thing("example.com/v1", "Pod"), "1.30", "there is no example.com/v1"),
        (
            thing("monitoring.coreos.com/v1", "PodMonitor", spec={"selector": {}, "port": "http"}),
            "monitoring.coreos.com",
            f"$.spec: {UNEXPECTED.format('port')}",
        ),
        (
            thing("gateway.networking.k8s.io/v1", "HTTPRoute", spec={"hostnames": "a"}),
            "gateway.networking.k8s.io",
            "$.spec.hostnames: 'a' is not of type 'array'",
        ),
        (
            thing("cert-manager.io/v1", "Certificate", spec={"secretName": "a"}),
            "cert-manager.io",
            "$.spec: 'issuerRef' is a required property",
        ),
    ],
)
def test_what_a_cluster_would_drop_or_refuse_is_told_once(item, where, what):
    assert list(problems([item])) == [f"{item['kind']} a ({where}): {what}"]


def test_what_every_cluster_takes_is_no_problem():
    assert list(problems([pod(), *render().objects])) == []


def test_a_key_that_stands_twice_is_refused():
    with pytest.raises(yaml.YAMLError, match="the key 'data' stands twice"):
        yaml.load("data: {a: b}\nkind: ConfigMap\ndata: {c: d}\n", Loader)


def pod_security(*items):
    """The exit code and the words of the check for Pod Security `restricted`."""
    documents = "\n---\n".join(json.dumps(item) for item in items)
    done = subprocess.run(
        [executable("pod-security")], input=documents, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    return done.returncode, done.stdout


def test_pods_that_are_not_restricted_are_named_with_the_reason():
    deployment = copy.deepcopy(render().one("Deployment"))
    del deployment["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    code, said = pod_security(pod(hostNetwork=True), thing("example.com/v1", "Other"), deployment)
    assert code == 1
    first, second = said.splitlines()
    assert first.startswith("Pod a: ")
    assert "hostNetwork=true" in first
    assert second.startswith("Deployment gateway-gateway-provisioners: runAsNonRoot != true")


def test_pods_of_kernels_are_restricted():
    kernel = KernelPodSpec(
        name="a",
        namespace="notebooks",
        instance="gateway",
        kernel_id="1",
        kernel_name="python3",
        username="alice",
        image="elyra/kernel-py:1.0.0",
        environment={"KERNEL_ID": "1"},
        secret_environment={"KERNEL_LAUNCH_KEY": "x"},
    )
    assert pod_security(build_pod(kernel)) == (0, "")
