"""The ids of users and groups of each pod: numbers, those of the image, or those of OpenShift."""

import copy

import pytest
from chart_rendering import HELMS, refusal, render

from gateway_provisioners.model.pod.manifest import KernelPodSpec

ID_KEYS = ("runAsUser", "runAsGroup", "fsGroup", "supplementalGroups")
EVERY_POD = {
    "imagePuller": {"hook": {"enabled": True}, "continuous": {"enabled": True}},
    "kernelspecs": {"image": "acme/kernelspecs:1"},
    "kernels": {"r": {"enabled": True}},
}


def ids(value):
    """Return every id in a manifest, as (key, value)."""
    if isinstance(value, dict):
        own = [(key, value[key]) for key in ID_KEYS if key in value]
        return own + [found for item in value.values() for found in ids(item)]
    if isinstance(value, list):
        return [found for item in value for found in ids(item)]
    return []


def config(rendered, name="python3"):
    return rendered.kernelspecs[name]["metadata"]["kernel_provisioner"]["config"]


def without_nulls(value):
    """Return values as Argo CD and Flux deliver them."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


@pytest.mark.parametrize("program", HELMS)
def test_openshift_chooses_all_ids(program):
    rendered = render({**EVERY_POD, "openshift": True}, program=program)
    assert ids(rendered.objects) == []
    assert {item["kind"] for item in rendered.objects} >= {"Deployment", "DaemonSet", "Job", "Pod"}
    for name in ("python3", "r"):
        kernel = config(rendered, name)
        assert (kernel["run_as_user"], kernel["run_as_group"]) == (None, None)
    assert rendered.pod["spec"]["securityContext"]["runAsNonRoot"] is True


def test_no_null_is_needed_for_openshift():
    values = {**EVERY_POD, "openshift": True}
    assert without_nulls(values) == values


def test_kernel_with_ids_of_its_own_keeps_them_on_openshift():
    kernels = {"custom": {"image": "a/b:1", "runAsUser": 2000, "runAsGroup": "image"}}
    kernel = config(render({"openshift": True, "kernels": kernels}), "custom")
    assert (kernel["run_as_user"], kernel["run_as_group"]) == (2000, None)


def test_default_ids_are_those_of_the_provisioner():
    assert "run_as_user" not in config(render())
    assert (KernelPodSpec.run_as_user, KernelPodSpec.run_as_group) == (1000, 100)
    assert "run_as_user" not in config(render({"kernelDefaults": {"runAsUser": 1000}}))


@pytest.mark.parametrize("program", HELMS)
@pytest.mark.parametrize(
    ("defaults", "own", "expected"),
    [
        ({"runAsUser": "image", "runAsGroup": "image"}, {}, (None, None)),
        ({"runAsUser": "image"}, {"runAsUser": 1000970000}, (1000970000, 100)),
        ({"runAsUser": 2000, "runAsGroup": 0}, {}, (2000, 0)),
        ({"runAsUser": 2000, "runAsGroup": 3000}, {"runAsUser": "", "runAsGroup": ""}, (1000, 100)),
    ],
)
def test_kernels_run_with_the_chosen_ids(defaults, own, expected, program):
    values = {"kernelDefaults": defaults, "kernels": {"custom": {"image": "a/b:1", **own}}}
    kernel = config(render(values, program=program), "custom")
    assert (kernel.get("run_as_user", 1000), kernel.get("run_as_group", 100)) == expected


def test_image_pullers_have_the_ids_of_kernels():
    values = {**EVERY_POD, "kernelDefaults": {"runAsUser": 1000970000, "runAsGroup": 0}}
    for puller in render(values).all("DaemonSet"):
        assert ids(puller) == [("runAsUser", 1000970000), ("runAsGroup", 0)]
    values["kernelDefaults"] = {"runAsUser": "image"}
    for puller in render(values).all("DaemonSet"):
        assert ids(puller) == [("runAsGroup", 100)]
    for puller in render(EVERY_POD).all("DaemonSet"):
        assert ids(puller) == [("runAsUser", 1000), ("runAsGroup", 100)]


@pytest.mark.parametrize("program", HELMS)
def test_gateway_can_have_the_ids_of_its_image(program):
    context = {"runAsUser": "image", "runAsGroup": "image", "fsGroup": 2000}
    rendered = render({**EVERY_POD, "gateway": {"podSecurityContext": context}}, program=program)
    assert ids(rendered.pod) == [("fsGroup", 2000)]
    own = render({"gateway": {"podSecurityContext": {"runAsUser": 1000970000}}}, program=program)
    assert ids(own.pod) == [("runAsUser", 1000970000), ("runAsGroup", 100)]


@pytest.mark.parametrize(
    "values",
    [
        {"kernelDefaults": {"runAsUser": 0}},
        {"kernelDefaults": {"runAsUser": "root"}},
        {"kernels": {"python3": {"runAsGroup": -1}}},
        {"gateway": {"podSecurityContext": {"runAsUser": "jovyan"}}},
    ],
)
def test_invalid_ids_are_refused(values):
    assert "runAs" in refusal(values)


def test_layers_of_values_are_undone_without_null():
    """Argo CD and Flux drop nulls, so each removal has another way."""
    method = {"type": "token", "existingSecret": "users"}
    base = {
        "kernelDefaults": {"profiles": {"large": {"gpus": 1}, "small": {}}},
        "gateway": {"auth": {"methods": {"people": method, "robots": method}}},
    }
    assert "python3-large" in render(base).kernelspecs
    changed = copy.deepcopy(base)
    changed["kernels"] = {"python3": {"profiles": {"large": {"enabled": False}}}}
    changed["gateway"]["auth"]["methods"]["robots"] = {**method, "enabled": False}
    rendered = render(changed)
    assert set(rendered.kernelspecs) == {"python3", "python3-small"}
    assert "robots" not in rendered.env["GP_AUTH_METHODS"]
    assert "enabled" not in rendered.env["GP_AUTH_METHODS"]
    volumes = {volume["name"] for volume in rendered.pod["spec"]["volumes"]}
    assert "auth-people" in volumes
    assert "auth-robots" not in volumes


@pytest.mark.parametrize("program", HELMS)
def test_amounts_are_removed_without_null(program):
    limits = {"kernelDefaults": {"resources": {"limits": {"memory": "2Gi", "cpu": 2}}}}
    values = {
        **EVERY_POD,
        **limits,
        "kernels": {"python3": {"resources": {"limits": {"cpu": ""}}}},
        "gateway": {"resources": {"limits": {"memory": ""}, "requests": {"cpu": ""}}},
        "imagePuller": {**EVERY_POD["imagePuller"], "resources": {"limits": {"memory": ""}}},
    }
    rendered = render(values, program=program)
    assert rendered.container["resources"] == {"requests": {"memory": "160Mi"}}
    assert config(rendered)["resources"] == {"limits": {"memory": "2Gi"}}
    for puller in rendered.all("DaemonSet"):
        for container in puller["spec"]["template"]["spec"]["initContainers"]:
            assert set(container["resources"]) == {"requests"}


@pytest.mark.parametrize("program", HELMS)
def test_other_keys_are_removed_by_null_in_a_file(program):
    template = {"spec": {"enableServiceLinks": None}}
    labels = {"grafana_dashboard": None, "dashboards": "1"}
    values = {
        "kernels": {"python3": {"podTemplate": template}},
        "metrics": {"dashboard": {"enabled": True, "labels": labels}},
    }
    rendered = render(values, program=program)
    assert config(rendered)["pod_template"] == template
    [dashboard] = (
        item for item in rendered.all("ConfigMap") if "dashboards" in item["metadata"]["labels"]
    )
    assert "grafana_dashboard" not in dashboard["metadata"]["labels"]
