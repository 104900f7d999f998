"""The checks of rendered objects in `make lint` find invalid objects."""

import copy
import json
import subprocess

import pytest
import yaml
from chart_rendering import executable, render

from ci.check_manifests import Loader, kubernetes_versions, problems
from gateway_provisioners.model.pod.manifest import KernelPodSpec, build_pod


def kubernetes_object(api_version, kind, **fields):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, **fields}


def pod(**spec):
    return kubernetes_object(
        "v1", "Pod", spec={"containers": [{"name": "a", "image": "a"}], **spec}
    )


def test_every_minor_version_since_the_charts_minimum_is_checked():
    first, *others = (int(version.removeprefix("1.")) for version in kubernetes_versions())
    assert first == 30
    assert others == list(range(31, 31 + len(others)))
    assert others[-1] >= 37


UNEXPECTED = "Additional properties are not allowed ('{}' was unexpected)"


@pytest.mark.parametrize(
    ("item", "where", "what"),
    [
        (pod(hostname=1), "1.30", "$.spec.hostname: 1 is not of type 'string', 'null'"),
        # A field that 1.32 added, and an API version that it removed.
        (pod(resources={}), "1.30", f"$.spec: {UNEXPECTED.format('resources')}"),
        (
            kubernetes_object("flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema"),
            "1.32",
            "there is no flowcontrol.apiserver.k8s.io/v1beta3 FlowSchema",
        ),
        (kubernetes_object("example.com/v1", "Pod"), "1.30", "there is no example.com/v1 Pod"),
        (
            kubernetes_object(
                "monitoring.coreos.com/v1", "PodMonitor", spec={"selector": {}, "port": "http"}
            ),
            "monitoring.coreos.com",
            f"$.spec: {UNEXPECTED.format('port')}",
        ),
        (
            kubernetes_object("gateway.networking.k8s.io/v1", "HTTPRoute", spec={"hostnames": "a"}),
            "gateway.networking.k8s.io",
            "$.spec.hostnames: 'a' is not of type 'array'",
        ),
        (
            kubernetes_object("cert-manager.io/v1", "Certificate", spec={"secretName": "a"}),
            "cert-manager.io",
            "$.spec: 'issuerRef' is a required property",
        ),
    ],
)
def test_problems_are_reported_once(item, where, what):
    assert list(problems([item])) == [f"{item['kind']} a ({where}): {what}"]


def test_valid_objects_have_no_problems():
    assert list(problems([pod(), *render().objects])) == []


def test_duplicate_keys_are_refused():
    with pytest.raises(yaml.YAMLError, match="duplicate key 'data'"):
        yaml.load("data: {a: b}\nkind: ConfigMap\ndata: {c: d}\n", Loader)


def pod_security(*items):
    """Return the exit code and the output of the check for Pod Security `restricted`."""
    documents = "\n---\n".join(json.dumps(item) for item in items)
    done = subprocess.run(
        [executable("pod-security")], input=documents, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    return done.returncode, done.stdout


def test_unrestricted_pods_are_reported_with_the_reason():
    deployment = copy.deepcopy(render().one("Deployment"))
    del deployment["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    code, output = pod_security(
        pod(hostNetwork=True), kubernetes_object("example.com/v1", "Other"), deployment
    )
    assert code == 1
    first, second = output.splitlines()
    assert first.startswith("Pod a: ")
    assert "hostNetwork=true" in first
    assert second.startswith("Deployment gateway-gateway-provisioners: runAsNonRoot != true")


def test_kernel_pods_meet_pod_security_restricted():
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
