"""Options of the gateway's pod, image registries, common labels and annotations, extra objects."""

import hashlib

import pytest
from chart_rendering import chart_values, render

PULLED = {"global": {"imageRegistry": "mirror.example.com/x/", "imagePullSecrets": ["mirror"]}}


@pytest.mark.parametrize("replicas", [0, 1])
def test_a_single_gateway_has_no_disruption_budget(replicas):
    assert not list(render({"gateway": {"replicas": replicas}}).all("PodDisruptionBudget"))


@pytest.mark.parametrize(("wanted", "rendered"), [(1, 1), (2, 2), ("50%", "50%")])
def test_several_gateways_have_a_disruption_budget(wanted, rendered):
    gateway = {"replicas": 3, "podDisruptionBudget": {"maxUnavailable": wanted}}
    release = render({"gateway": gateway})
    budget = release.one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == rendered
    assert budget["selector"] == release.one("Deployment")["spec"]["selector"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_disruption_budget_can_be_disabled():
    gateway = {"replicas": 3, "podDisruptionBudget": {"maxUnavailable": ""}}
    assert not list(render({"gateway": gateway}).all("PodDisruptionBudget"))


def test_gateways_are_spread_over_nodes_per_version():
    rendered = render()
    [constraint] = rendered.pod["spec"]["topologySpreadConstraints"]
    assert constraint["labelSelector"] == rendered.one("Deployment")["spec"]["selector"]
    assert constraint["matchLabelKeys"] == ["pod-template-hash"]
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"


def test_constraints_with_a_selector_are_not_changed():
    own = {"maxSkew": 1, "topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}
    rendered = render({"gateway": {"topologySpreadConstraints": [own]}})
    assert rendered.pod["spec"]["topologySpreadConstraints"] == [own]
    none = render({"gateway": {"topologySpreadConstraints": []}})
    assert "topologySpreadConstraints" not in none.pod["spec"]


def test_priority_of_the_gateway():
    spec = render({"gateway": {"priorityClassName": "high"}}).pod["spec"]
    assert spec["priorityClassName"] == "high"
    assert "priorityClassName" not in render().pod["spec"]


def test_extra_config_is_merged_in_name_order_and_changes_restart():
    rendered = render({"gateway": {"extraConfig": {"b": "c.B.b = 2", "a": "c.A.a = 1\n"}}})
    [config] = [
        item for item in rendered.all("ConfigMap") if item["metadata"]["name"].endswith("-config")
    ]
    [(name, text)] = config["data"].items()
    assert [line for line in text.splitlines() if line] == [
        *("# a", "c.A.a = 1", "# b", "c.B.b = 2")
    ]
    [mount] = [each for each in rendered.container["volumeMounts"] if each["name"] == "config"]
    assert mount["mountPath"] == f"/etc/jupyter/{name}"
    [volume] = [each for each in rendered.pod["spec"]["volumes"] if each["name"] == "config"]
    assert volume["configMap"]["name"] == config["metadata"]["name"]
    changed = render({"gateway": {"extraConfig": {"a": "c.A.a = 2"}}})
    checksums = {
        each.pod["metadata"]["annotations"]["checksum/config"] for each in (rendered, changed)
    }
    assert len(checksums) == 2


def test_new_token_restarts_and_its_annotation_does_not_reveal_it():
    tokens = ("correct-horse-battery-staple", "correct-horse-battery-stapler")
    first, second, elsewhere = (
        render({"gateway": {"auth": {"token": token}}}, namespace=namespace).pod["metadata"][
            "annotations"
        ]
        for token, namespace in ((tokens[0], "a"), (tokens[1], "a"), (tokens[0], "b"))
    )
    assert first != second
    assert first != elsewhere, "the same token in two releases does not look the same"
    digest = hashlib.sha256(tokens[0].encode()).hexdigest()
    assert digest[:8] not in str(first)
    assert len(first["checksum/token"]) == 8


def test_extra_containers_and_volumes_follow_the_charts_own():
    extra = {
        "extraContainers": [{"name": "side", "image": "a"}],
        "extraInitContainers": [{"name": "before", "image": "a"}],
        "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    }
    spec = render({"gateway": extra}).pod["spec"]
    assert [each["name"] for each in spec["containers"]] == ["gateway", "side"]
    assert spec["initContainers"] == extra["extraInitContainers"]
    names = ["tmp", "runtime", "api-token", "user-groups", "scratch"]
    assert [each["name"] for each in spec["volumes"]] == names
    assert [each["name"] for each in spec["containers"][0]["volumeMounts"]] == names


def test_kernelspecs_volume_is_mounted_where_jupyter_looks():
    rendered = render({"kernelspecs": {"existingClaim": "specs", "subPath": "production"}})
    [mount] = [each for each in rendered.container["volumeMounts"] if each["name"] == "kernelspecs"]
    assert mount == {
        "name": "kernelspecs",
        "mountPath": "/usr/local/share/jupyter/kernels",
        "subPath": "production",
        "readOnly": True,
    }
    [volume] = [each for each in rendered.pod["spec"]["volumes"] if each["name"] == "kernelspecs"]
    assert volume["persistentVolumeClaim"] == {"claimName": "specs", "readOnly": True}
    assert "initContainers" not in rendered.pod["spec"]


def test_kernelspecs_from_an_image_are_copied_by_a_restricted_container():
    values = {"kernelspecs": {"image": "acme/specs:1", "imagePath": "/specs/"}, **PULLED}
    rendered = render(values)
    [copy] = rendered.pod["spec"]["initContainers"]
    assert copy["image"] == "mirror.example.com/x/acme/specs:1"
    assert copy["command"] == ["cp", "-R", "/specs/.", "/kernelspecs"]
    assert copy["securityContext"] == rendered.container["securityContext"]
    assert copy["resources"] == rendered.container["resources"]


def test_programs_of_kernelspecs_need_the_value():
    for value in (None, False):
        env = render({"kernelspecs": {"existingClaim": "specs", "launchScripts": value}}).env
        assert env["GP_LAUNCH_SCRIPTS"] == "False"
        assert "JUPYTER_CONFIG_DIR" not in env
    env = render({"kernelspecs": {"existingClaim": "specs", "launchScripts": True}}).env
    assert env["GP_LAUNCH_SCRIPTS"] == "True"


def test_launch_scripts_find_no_folder_for_configuration():
    rendered = render({"kernelspecs": {"launchScripts": True}})
    assert rendered.env["JUPYTER_CONFIG_DIR"] == "/dev/null"
    assert rendered.container["securityContext"]["readOnlyRootFilesystem"] is True


def test_default_kernel_may_come_from_additional_kernelspecs():
    values = {"gateway": {"defaultKernel": "other"}, "kernelspecs": {"existingClaim": "specs"}}
    assert render(values).env["KG_DEFAULT_KERNEL_NAME"] == "other"


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        ("elyra/kernel-py:1", "mirror.example.com/x/elyra/kernel-py:1"),
        ("python", "mirror.example.com/x/python"),
        ("python:3", "mirror.example.com/x/python:3"),
        ("a/b@sha256:" + "0" * 64, "mirror.example.com/x/a/b@sha256:" + "0" * 64),
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ("localhost/a", "localhost/a"),
        ("registry:5000/a/b", "registry:5000/a/b"),
    ],
)
def test_registry_is_added_to_images_without_one(image, pulled):
    rendered = render({**PULLED, "kernels": {"custom": {"image": image}}})
    config = rendered.kernelspecs["custom"]["metadata"]["kernel_provisioner"]["config"]
    assert config["image_name"] == pulled
    assert config["image_pull_secrets"] == ["mirror"]


def test_registry_applies_to_the_gateway_image():
    rendered = render({**PULLED, "gateway": {"image": {"pullSecrets": ["own", "mirror"]}}})
    assert rendered.container["image"].startswith("mirror.example.com/x/elyra/gateway:")
    assert rendered.pod["spec"]["imagePullSecrets"] == [{"name": "mirror"}, {"name": "own"}]
    digest = "sha256:" + "0" * 64
    pinned = render({**PULLED, "gateway": {"image": {"digest": digest}}})
    assert pinned.container["image"] == f"mirror.example.com/x/elyra/gateway@{digest}"


def everything_with(values):
    return render(
        {
            "kernelNamespace": "kernels",
            "resourceQuota": {"pods": 1},
            "limitRange": [{"type": "Pod"}],
            "ingress": {"enabled": True, "annotations": {"own": "1"}},
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}]},
            "metrics": {
                "labels": {"release": "prometheus"},
                "serviceMonitor": {"enabled": True},
                "prometheusRule": {"enabled": True},
                "dashboard": {"enabled": True},
            },
            **values,
            "gateway": {
                "replicas": 2,
                "extraConfig": {"a": ""},
                "tls": {"certManager": {"issuerRef": {"name": "i"}}},
                "podLabels": {"own": "1"},
                "podAnnotations": {"own": "1"},
            },
        }
    )


def test_common_labels_and_annotations_are_on_every_object():
    labels, annotations = {"team": "data"}, {"example.com/contact": "data@example.com"}
    rendered = everything_with({"commonLabels": labels, "commonAnnotations": annotations})
    assert len(rendered.objects) > 20
    for item in [*rendered.objects, rendered.pod]:
        assert labels.items() <= item["metadata"]["labels"].items()
        assert annotations.items() <= item["metadata"]["annotations"].items()
    assert rendered.pod["metadata"]["labels"]["own"] == "1"
    assert rendered.pod["metadata"]["annotations"]["own"] == "1"
    assert rendered.one("Ingress")["metadata"]["annotations"]["own"] == "1"
    selector = rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
    assert "team" not in selector


def test_specific_labels_and_annotations_take_precedence():
    common = {"release": "x", "own": "x", "grafana_dashboard": "x"}
    rendered = everything_with({"commonLabels": common, "commonAnnotations": {"own": "x"}})
    assert rendered.one("ServiceMonitor")["metadata"]["labels"]["release"] == "prometheus"
    assert {
        item["metadata"]["labels"]["grafana_dashboard"] for item in rendered.all("ConfigMap")
    } == {"x", "1"}
    assert rendered.pod["metadata"]["labels"]["own"] == "1"
    assert rendered.one("Ingress")["metadata"]["annotations"]["own"] == "1"


def test_extra_objects_may_use_templates():
    text = 'a "quoted" {{ .Release.Name }}'
    item = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "{{ .Release.Name }}-x"},
        "data": {"key": text},
    }
    rendered = render({"extraObjects": [item]})
    [found] = [each for each in rendered.objects if each["metadata"]["name"] == "gateway-x"]
    assert found["data"]["key"] == 'a "quoted" gateway'
    assert chart_values()["extraObjects"] == []
