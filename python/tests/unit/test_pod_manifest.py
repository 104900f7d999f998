import base64
import copy
import json

from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.model.pod.manifest import (
    KernelPodSpec,
    build_pod,
    build_record_patch,
    build_secret,
    open_gate_patch,
    read_record,
)

KERNEL_ID = "0f2f4c7e-6f9c-4f0e-8a55-1f6c4a5e0b11"


def a_spec(**changes):
    fields = {
        "name": f"alice-{KERNEL_ID}-1",
        "namespace": "kernels",
        "instance": "gateway",
        "kernel_id": KERNEL_ID,
        "kernel_name": "python",
        "username": "alice",
        "image": "acme/data-sci-py:2.0",
        "environment": {"KERNEL_ID": KERNEL_ID},
        "secret_environment": {"KERNEL_LAUNCH_KEY": "a2V5", "API_TOKEN": "s3cret"},
        "operator": "process-a",
    }
    return KernelPodSpec(**{**fields, **changes})


def created(spec):
    pod = build_pod(spec)
    pod["metadata"]["uid"] = "1234"
    return pod


def test_the_whole_pod():
    labels = {
        "app.kubernetes.io/name": "gateway-provisioners-kernel",
        "app.kubernetes.io/managed-by": "gateway-provisioners",
        "app.kubernetes.io/component": "kernel",
        "app.kubernetes.io/instance": "gateway",
        "kernel_id": KERNEL_ID,
        "component": "kernel",
    }
    name = f"alice-{KERNEL_ID}-1"
    assert build_pod(a_spec(resources={"limits": {"memory": "1Gi"}})) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "kernels",
            "labels": labels,
            "annotations": {
                "gateway-provisioners/kernel-name": "python",
                "gateway-provisioners/username": "alice",
                "gateway-provisioners/state": "launching",
                "gateway-provisioners/operator": "process-a",
                "gateway-provisioners/attempt": "1",
                "gateway-provisioners/gpu-resource": "nvidia.com/gpu",
                "gateway-provisioners/owner": "",
                "gateway-provisioners/owner-groups": "[]",
                "gateway-provisioners/shared-with-users": "{}",
                "gateway-provisioners/shared-with-groups": "{}",
                "karpenter.sh/do-not-disrupt": "true",
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "schedulingGates": [{"name": "gateway-provisioners/secret"}],
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
                "runAsUser": 1000,
                "runAsGroup": 100,
                "fsGroup": 100,
                "fsGroupChangePolicy": "OnRootMismatch",
            },
            "containers": [
                {
                    "name": "kernel",
                    "image": "acme/data-sci-py:2.0",
                    "imagePullPolicy": "IfNotPresent",
                    "env": [
                        {"name": "KERNEL_ID", "value": KERNEL_ID},
                        {
                            "name": "KERNEL_LAUNCH_KEY",
                            "valueFrom": {
                                "secretKeyRef": {"name": name, "key": "env.KERNEL_LAUNCH_KEY"}
                            },
                        },
                        {
                            "name": "API_TOKEN",
                            "valueFrom": {"secretKeyRef": {"name": name, "key": "env.API_TOKEN"}},
                        },
                    ],
                    "resources": {"limits": {"memory": "1Gi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def test_secrets_are_in_the_secret_and_nowhere_else():
    spec = a_spec()
    assert "s3cret" not in json.dumps(build_pod(spec))
    assert "s3cret" not in repr(spec)
    secret = build_secret(spec, created(spec))
    assert base64.b64decode(secret["data"]["env.API_TOKEN"]) == b"s3cret"
    assert secret["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": spec.name, "uid": "1234"}
    ]


def shape(value):
    """`value` without its strings: what kind of thing is where."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


hostile = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "x\nhostPID: true",
            '"}, {"privileged": true',
            "{{ self.__init__.__globals__ }}",
            "{% raw %}",
            "!!python/object/apply:os.system ['id']",
            "$(KERNEL_LAUNCH_KEY)",
            "*anchor",
            "\u2028",
        ]
    ),
)


@given(username=hostile, value=hostile, image=hostile, kernel_name=hostile)
def test_no_value_changes_the_structure(username, value, image, kernel_name):
    plain = build_pod(a_spec())
    strange = build_pod(
        a_spec(
            username=username,
            image=image,
            kernel_name=kernel_name,
            environment={"KERNEL_ID": value},
            secret_environment={"KERNEL_LAUNCH_KEY": value, "API_TOKEN": value},
        )
    )
    assert shape(strange) == shape(plain)
    assert json.loads(json.dumps(strange)) == strange


def test_the_kubelet_expands_nothing_in_a_literal():
    pod = build_pod(a_spec(environment={"KERNEL_USERNAME": "$(KERNEL_LAUNCH_KEY)"}))
    assert pod["spec"]["containers"][0]["env"][0]["value"] == "$$(KERNEL_LAUNCH_KEY)"


def test_a_literal_wins_over_a_clients_variable_of_the_same_name():
    pod = build_pod(a_spec(secret_environment={"KERNEL_ID": "forged"}))
    names = [variable["name"] for variable in pod["spec"]["containers"][0]["env"]]
    assert names == ["KERNEL_ID"]


def test_the_administrators_patch_is_merged_last_and_changes_no_input():
    patch = {
        "metadata": {"labels": {"team": "blue"}},
        "spec": {
            "securityContext": {"runAsGroup": None},
            "volumes": [{"name": "data", "emptyDir": {}}],
            "containers": [
                {
                    "name": "kernel",
                    "env": [{"name": "KERNEL_ID", "value": "patched"}],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                },
                {"name": "sidecar", "image": "proxy"},
            ],
        },
    }
    before = copy.deepcopy(patch)
    pod = build_pod(a_spec(patch=patch))
    kernel, sidecar = pod["spec"]["containers"]
    assert kernel["image"] == "acme/data-sci-py:2.0"
    assert kernel["env"][0] == {"name": "KERNEL_ID", "value": "patched"}
    assert kernel["env"][1]["name"] == "KERNEL_LAUNCH_KEY"
    assert kernel["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
    assert sidecar == {"name": "sidecar", "image": "proxy"}
    assert "runAsGroup" not in pod["spec"]["securityContext"]
    assert pod["metadata"]["labels"]["team"] == "blue"
    assert pod["metadata"]["labels"]["kernel_id"] == KERNEL_ID
    assert patch == before


def test_a_kernel_that_may_be_evicted_says_so():
    annotations = build_pod(a_spec(evictable=True))["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "true"
    assert "karpenter.sh/do-not-disrupt" not in annotations


def test_the_patch_comes_before_the_annotations_for_autoscalers():
    wanted = {
        "karpenter.sh/do-not-disrupt": None,
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
    }
    pod = build_pod(a_spec(patch={"metadata": {"annotations": wanted}}))
    annotations = pod["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "true"
    assert "karpenter.sh/do-not-disrupt" not in annotations


def test_our_gate_opens_and_those_of_others_stay():
    pod = build_pod(a_spec())
    gates = pod["spec"]["schedulingGates"]
    for number in range(2):
        path = f"/spec/schedulingGates/{number}"
        assert open_gate_patch(pod) == [
            {"op": "test", "path": f"{path}/name", "value": "gateway-provisioners/secret"},
            {"op": "remove", "path": path},
        ]
        gates.insert(0, {"name": "acme/quota"})
    assert open_gate_patch({"spec": {"schedulingGates": [{"name": "acme/quota"}]}}) == []
    assert open_gate_patch({"spec": {}}) == []


def test_a_record_survives_the_secret():
    record = {"kernel_id": KERNEL_ID, "environment": {"A": "ü"}}
    assert read_record(build_record_patch(record)) == record
    assert read_record(build_secret(a_spec(), created(a_spec()))) is None


def test_amounts_that_are_numbers_become_text():
    """The chart takes `cpu: 2`, as Kubernetes does; the client library takes nothing but text."""
    template = {
        "spec": {
            "initContainers": [{"name": "first", "resources": {"limits": {"cpu": 0.5}}}],
            "containers": [{"name": "kernel", "resources": {"requests": {"memory": 1048576}}}],
        }
    }
    spec = a_spec(resources={"limits": {"cpu": 2, "memory": "1Gi"}}, patch=template)
    made = build_pod(spec)["spec"]
    assert made["initContainers"][0]["resources"] == {"limits": {"cpu": "0.5"}}
    assert made["containers"][0]["resources"] == {
        "limits": {"cpu": "2", "memory": "1Gi"},
        "requests": {"memory": "1048576"},
    }
