"""A Pod's options, from a kernelspec's settings and a client's request."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.model.names import user_label
from gateway_provisioners.model.pod.manifest import KernelPodSpec, build_pod
from gateway_provisioners.model.request.launch_request import LaunchRequest
from gateway_provisioners.provisioners.launch_traits import KubernetesLaunchTraits
from gateway_provisioners.provisioners.pod_options import pod_options

VOLUMES = [
    {"name": "home", "persistentVolumeClaim": {"claimName": "home-{username}"}},
    {"name": "all", "projected": {"sources": [{"secret": {"name": "{username}-{username}"}}]}},
    {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}, "odd": [1, True, None]},
]
MOUNTS = [
    {"name": "home", "mountPath": "/home/jovyan/work"},
    {"name": "shared", "mountPath": "/shared", "subPath": "users/{username}", "readOnly": True},
]


def pod(request, **settings):
    spec = KernelPodSpec(
        name="p",
        namespace="n",
        instance="i",
        kernel_id="k",
        kernel_name="python3",
        username=request.username,
        image="a/b:1",
        environment={},
        secret_environment={},
        **pod_options(KubernetesLaunchTraits(**settings), request),
    )
    return build_pod(spec)


def test_the_options_of_a_kernelspec_are_in_its_pod():
    affinity = {"nodeAffinity": {}}
    env_from = [{"secretRef": {"name": "warehouse"}}]
    made = pod(
        LaunchRequest(),
        env_from=env_from,
        affinity=affinity,
        runtime_class_name="gvisor",
        priority_class_name="low",
        service_account_name="data",
        volumes=[{"name": "scratch", "emptyDir": {}}],
        volume_mounts=[{"name": "scratch", "mountPath": "/scratch"}],
    )
    spec, (container,) = made["spec"], made["spec"]["containers"]
    assert container["envFrom"] == env_from
    assert container["volumeMounts"] == [{"name": "scratch", "mountPath": "/scratch"}]
    assert spec["volumes"] == [{"name": "scratch", "emptyDir": {}}]
    assert spec["affinity"] == affinity
    assert (spec["runtimeClassName"], spec["priorityClassName"]) == ("gvisor", "low")
    assert spec["serviceAccountName"] == "data"
    plain = pod(LaunchRequest())
    absent = {"volumes", "affinity", "runtimeClassName", "priorityClassName", "serviceAccountName"}
    assert not absent & set(plain["spec"])
    assert not {"envFrom", "volumeMounts"} & set(plain["spec"]["containers"][0])


@pytest.mark.parametrize(("settings", "evictable"), [({}, "false"), ({"evictable": True}, "true")])
def test_autoscalers_evict_only_kernels_that_allow_it(settings, evictable):
    annotations = pod(LaunchRequest(), **settings)["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == evictable


def test_the_template_of_the_pod_comes_last():
    template = {
        "spec": {
            "runtimeClassName": "kata",
            "volumes": [{"name": "more", "emptyDir": {}}],
            "containers": [
                {"name": "kernel", "volumeMounts": [{"name": "more", "mountPath": "/more"}]}
            ],
        }
    }
    made = pod(
        LaunchRequest(),
        volumes=[{"name": "scratch", "emptyDir": {}}],
        volume_mounts=[{"name": "scratch", "mountPath": "/scratch"}],
        runtime_class_name="gvisor",
        pod_template=template,
    )
    assert made["spec"]["runtimeClassName"] == "kata"
    assert [volume["name"] for volume in made["spec"]["volumes"]] == ["scratch", "more"]
    mounts = made["spec"]["containers"][0]["volumeMounts"]
    assert [mount["mountPath"] for mount in mounts] == ["/scratch", "/more"]


def test_the_users_label_is_in_the_volumes():
    before = copy.deepcopy((VOLUMES, MOUNTS))
    made = pod(LaunchRequest(username="alice"), volumes=VOLUMES, volume_mounts=MOUNTS)
    home, everything, scratch = made["spec"]["volumes"]
    assert home["persistentVolumeClaim"] == {"claimName": "home-alice"}
    assert everything["projected"]["sources"] == [{"secret": {"name": "alice-alice"}}]
    assert scratch == VOLUMES[2]
    assert made["spec"]["containers"][0]["volumeMounts"][1]["subPath"] == "users/alice"
    assert before == (VOLUMES, MOUNTS)


@pytest.mark.parametrize(
    "name", ["../bob", "a/b", "{username}", "{0.__class__}", "$(HOME)", "B o b"]
)
def test_a_username_stays_in_its_place(name):
    made = pod(LaunchRequest(username=name), volumes=VOLUMES, volume_mounts=MOUNTS)
    claim = made["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == f"home-{user_label(name)}"
    path = made["spec"]["containers"][0]["volumeMounts"][1]["subPath"]
    assert path == f"users/{user_label(name)}"
    assert path.count("/") == 1


def shape(value):
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value)


@given(st.text(max_size=40))
def test_a_username_never_changes_the_structure(username):
    made = pod(LaunchRequest(username=username), volumes=VOLUMES, volume_mounts=MOUNTS)
    tame = pod(LaunchRequest(username="alice"), volumes=VOLUMES, volume_mounts=MOUNTS)
    assert shape(made["spec"]) == shape(tame["spec"])


def test_the_clients_choices_replace_the_kernelspecs():
    request = LaunchRequest(
        resources={"requests": {"cpu": "2"}, "limits": {"amd.com/gpu": "1"}},
        run_as_user=2000,
        run_as_group=3000,
        service_account_name="spark",
        working_dir="/home/alice",
        volumes=[{"name": "client-1", "persistentVolumeClaim": {"claimName": "datasets"}}],
        volume_mounts=[{"name": "client-1", "mountPath": "/data"}],
    )
    settings = {
        "service_account_name": "kernel",
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
    }
    spec = pod(request, **settings)["spec"]
    assert spec["serviceAccountName"] == "spark"
    assert spec["securityContext"]["runAsUser"] == 2000
    assert spec["securityContext"]["runAsGroup"] == 3000
    (container,) = spec["containers"]
    assert [volume["name"] for volume in spec["volumes"]] == ["scratch", "client-1"]
    assert container["volumeMounts"] == [{"name": "client-1", "mountPath": "/data"}]
    assert container["workingDir"] == "/home/alice"
    assert container["resources"] == {
        "requests": {"cpu": "2", "memory": "1Gi"},
        "limits": {"amd.com/gpu": "1"},
    }
    assert pod(LaunchRequest(), **settings)["spec"]["securityContext"]["runAsUser"] == 1000


def test_a_clients_group_does_not_become_that_of_the_volumes():
    def groups(gid, **settings):
        context = pod(LaunchRequest(run_as_group=gid), **settings)["spec"]["securityContext"]
        names = ("runAsGroup", "supplementalGroups", "fsGroup", "fsGroupChangePolicy")
        return tuple(context.get(name) for name in names)

    assert groups(None) == (100, None, 100, "OnRootMismatch")
    assert groups(100) == (100, None, 100, "OnRootMismatch")
    assert groups(3000) == (3000, [3000], 100, "OnRootMismatch")
    assert groups(3000, run_as_group=None) == (3000, [3000], None, None)
    assert groups(None, run_as_group=None) == (None, None, None, None)
