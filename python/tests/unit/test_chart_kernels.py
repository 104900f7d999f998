"""Kernelspecs that are built from `kernels` and `kernelDefaults`."""

import json

import pytest
from chart_rendering import chart_values, refusal, render

from gateway_provisioners import __version__
from gateway_provisioners.model.kernelspec import (
    LANGUAGES,
    KernelSpecSettings,
    build_kernel_json,
    is_image_name,
    port_range_problem,
)

FOLDER = "/usr/local/share/jupyter/kernels"
CUSTOM = {"image": "acme/data-sci-py:2.0"}


def config(rendered, name):
    return rendered.kernelspecs[name]["metadata"]["kernel_provisioner"]["config"]


def test_kernel_json_of_the_custom_images_page():
    """The kernel.json on the page has exactly these values."""
    kernels = {"data_sci_py": {**CUSTOM, "displayName": "Data Science 2.0"}}
    assert render({"kernels": kernels}).kernelspecs["data_sci_py"] == {
        "argv": [
            "python",
            "/usr/local/share/jupyter/kernels/data_sci_py/scripts/launch_kubernetes.py",
            "--kernel-id",
            "{kernel_id}",
            "--port-range",
            "{port_range}",
            "--response-address",
            "{response_address}",
            "--public-key",
            "{public_key}",
            "--kernel-class-name",
            "ipykernel.ipkernel.IPythonKernel",
        ],
        "env": {},
        "display_name": "Data Science 2.0",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {
            "debugger": True,
            "kernel_provisioner": {
                "provisioner_name": "kubernetes-provisioner",
                "config": {"image_name": "acme/data-sci-py:2.0", "launch_timeout": 30},
            },
        },
    }


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        ({}, {}),
        ({"language": "r"}, {"language": "r"}),
        ({"language": "scala"}, {"language": "scala"}),
        ({"launchTimeout": 120}, {"launch_timeout": 120}),
        ({"portRange": "40000..42000"}, {"port_range": "40000..42000"}),
        ({"portRange": "0..0"}, {"port_range": "0..0"}),
        ({"authorizedUsers": ["al", "bo"]}, {"authorized_users": ("al", "bo")}),
        ({"unauthorizedUsers": ["bo", "root"]}, {"unauthorized_users": ("bo", "root")}),
        ({"kernelClassName": "acme.Kernel"}, {"kernel_class_name": "acme.Kernel"}),
        ({"displayName": 'Père "Noël" {{ x }} <&>'}, {"display_name": 'Père "Noël" {{ x }} <&>'}),
        # The provisioner's defaults are omitted.
        ({"pullPolicy": "IfNotPresent", "transportEncryption": "auto", "resources": {}}, {}),
    ],
)
def test_kernelspec_equals_that_of_the_command_line(values, settings):
    """The chart and `jupyter k8s-spec install` build the same kernel.json."""
    expected = build_kernel_json(
        KernelSpecSettings(
            **{
                "name": "custom",
                "display_name": "Custom",
                "language": "python",
                "image_name": CUSTOM["image"],
                "resource_dir": f"{FOLDER}/custom",
                **settings,
            }
        )
    )
    assert render({"kernels": {"custom": {**CUSTOM, **values}}}).kernelspecs["custom"] == expected


def test_every_language_of_the_command_line_is_supported():
    kernels = {f"my_{language}": {**CUSTOM, "language": language} for language in LANGUAGES}
    specs = render({"kernels": kernels}).kernelspecs
    for name, language in LANGUAGES.items():
        assert specs[f"my_{name}"]["language"] == language.in_kernel_json


def test_custom_language():
    rendered = render({"kernels": {"bash": {"image": "acme/bash:1", "language": "bash"}}})
    spec = rendered.kernelspecs["bash"]
    assert spec["language"] == "bash"
    assert "--kernel-class-name" not in spec["argv"]
    assert "debugger" not in spec["metadata"]


def test_one_flag_adds_a_kernel():
    rendered = render(settings=("kernels.custom.image=acme/data-sci-py:2.0",))
    assert set(rendered.kernelspecs) == {"python3", "custom"}
    assert rendered.kernelspecs["custom"]["display_name"] == "Custom"
    assert config(rendered, "custom")["image_name"] == "acme/data-sci-py:2.0"


def test_python_image_has_this_version():
    assert config(render(), "python3")["image_name"] == f"elyra/kernel-py:{__version__}"
    assert LANGUAGES["python"].image == "elyra/kernel-py"


def test_r_kernel_is_one_flag_away():
    rendered = render(settings=("kernels.r.enabled=true",))
    assert set(rendered.kernelspecs) == {"python3", "r"}
    spec = rendered.kernelspecs["r"]
    assert (spec["display_name"], spec["language"]) == ("R", "R")
    assert "debugger" not in spec["metadata"]
    assert config(rendered, "r")["image_name"] == f"elyra/kernel-r:{__version__}"
    assert LANGUAGES["r"].image == "elyra/kernel-r"


@pytest.mark.parametrize("settings", [("kernels.custom.enabled=false",), ("kernels.custom=null",)])
@pytest.mark.parametrize("program", ["helm4", "helm3"])
def test_kernel_is_removed(settings, program):
    values = {"kernels": {"custom": CUSTOM}}
    assert "custom" in render(values, program=program).kernelspecs
    assert "custom" not in render(values, program=program, settings=settings).kernelspecs


@pytest.mark.parametrize("program", ["helm4", "helm3"])
def test_null_for_an_unknown_kernel_is_ignored(program):
    assert set(render(settings=("kernels.unknown=null",), program=program).kernelspecs) == {
        "python3"
    }


@pytest.mark.parametrize("program", ["helm4", "helm3"])
@pytest.mark.parametrize("removal", ["kernels.python3=null", "kernels.python3.enabled=false"])
def test_python_kernel_can_be_removed(program, removal):
    settings = (removal, "kernels.custom.image=a/b:1", "gateway.defaultKernel=custom")
    assert set(render(settings=settings, program=program).kernelspecs) == {"custom"}


def test_no_kernels():
    rendered = render(settings=("kernels.python3.enabled=false",))
    assert rendered.kernelspecs == {}


@pytest.mark.parametrize(
    ("name", "displayed"), [("data_sci_py", "Data Sci Py"), ("gpu-big", "Gpu Big"), ("r4", "R4")]
)
def test_display_name_is_derived_from_the_name(name, displayed):
    rendered = render({"kernels": {name: CUSTOM}})
    assert rendered.kernelspecs[name]["display_name"] == displayed


FULL = {
    "pullPolicy": "Always",
    "pullSecrets": ["regcred"],
    "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "2Gi", "cpu": 2}},
    "env": {"ONE": "1", "TWO": "2"},
    "nodeSelector": {"pool": "cpu", "disk": "ssd"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "launchTimeout": 90,
    "portRange": "40000..42000",
    "transportEncryption": "required",
    "oldestProtocol": 2,
    "authorizedUsers": ["alice"],
    "unauthorizedUsers": ["bob"],
    "podTemplate": {"spec": {"runtimeClassName": "gvisor"}},
}


def test_defaults_apply_to_every_kernel():
    rendered = render({"kernelDefaults": FULL, "kernels": {"custom": CUSTOM}})
    for name in ("python3", "custom"):
        assert rendered.kernelspecs[name]["env"] == {"ONE": "1", "TWO": "2"}
        got = config(rendered, name)
        del got["image_name"]
        assert got == {
            "launch_timeout": 90,
            "image_pull_policy": "Always",
            "image_pull_secrets": ["regcred"],
            "resources": FULL["resources"],
            "node_selector": FULL["nodeSelector"],
            "tolerations": FULL["tolerations"],
            "port_range": "40000..42000",
            "transport_encryption": "required",
            "oldest_protocol": 2,
            "authorized_users": ["alice"],
            "unauthorized_users": ["bob"],
            "pod_template": {"spec": {"runtimeClassName": "gvisor"}},
        }


def test_kernel_objects_are_merged_and_lists_replaced():
    kernel = {
        **CUSTOM,
        "env": {"TWO": "zwei", "THREE": "3"},
        "resources": {"limits": {"memory": "8Gi"}},
        "tolerations": [{"key": "b", "operator": "Exists"}],
        "podTemplate": {"spec": {"priorityClassName": "high"}},
    }
    rendered = render({"kernelDefaults": FULL, "kernels": {"custom": kernel}})
    got = config(rendered, "custom")
    assert rendered.kernelspecs["custom"]["env"] == {"ONE": "1", "TWO": "zwei", "THREE": "3"}
    assert got["resources"] == {"requests": {"cpu": "100m"}, "limits": {"memory": "8Gi", "cpu": 2}}
    assert got["tolerations"] == [{"key": "b", "operator": "Exists"}]
    assert got["pod_template"] == {
        "spec": {"runtimeClassName": "gvisor", "priorityClassName": "high"}
    }
    assert config(rendered, "python3")["resources"] == FULL["resources"]


def test_kernel_undoes_defaults_with_empty_values():
    kernel = {
        **CUSTOM,
        "env": {"ONE": ""},
        "launchTimeout": 0,
        "portRange": "0..0",
        "pullPolicy": "IfNotPresent",
        "pullSecrets": [],
        "tolerations": [],
        "transportEncryption": "auto",
        "oldestProtocol": 1,
        "authorizedUsers": [],
        "unauthorizedUsers": [],
    }
    rendered = render({"kernelDefaults": FULL, "kernels": {"custom": kernel}})
    assert rendered.kernelspecs["custom"]["env"] == {"ONE": "", "TWO": "2"}
    assert set(config(rendered, "custom")) == {
        *("image_name", "launch_timeout", "resources", "node_selector", "pod_template")
    }
    assert config(rendered, "custom")["launch_timeout"] == 30


def test_most_specific_launch_timeout_is_used():
    values = {
        "gateway": {"launchTimeout": 50},
        "kernels": {"custom": {**CUSTOM, "launchTimeout": 70}},
    }
    rendered = render(values)
    assert config(rendered, "custom")["launch_timeout"] == 70
    assert config(rendered, "python3")["launch_timeout"] == 50
    rendered = render({**values, "kernelDefaults": {"launchTimeout": 60}})
    assert config(rendered, "custom")["launch_timeout"] == 70
    assert config(rendered, "python3")["launch_timeout"] == 60


HOSTILE = [
    "plain",
    "",
    " leading and trailing ",
    'it\'s "quoted" \\ back',
    '{{ .Values.gateway }} {{- fail "x" }} {% raw %} ${HOME} $(id) `id`',
    "a: b\nkind: Secret\n---\napiVersion: v1\n",
    "\ttab\r\ncarriage\n\n\n  indented",
    "- [a, {b: c}] # no comment & *alias !tag | > %",
    "true",
    "0x1f",
    "1e6",
    "null",
    "~",
    "2024-01-01",
    "</script>&<!--",
    "日本語 ñ 🚀 \u202e\u200b",
    "\u0085next\u2028line\u2029par\ufeff",
    "\u007f\u0080\u009f\u0001",
    "x" * 5000,
]


def shape(value):
    """Return `value` with every string replaced by an empty one."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shape(item) for item in value]
    return "" if isinstance(value, str) else value


@pytest.mark.parametrize("program", ["helm4", "helm3"])
def test_values_cannot_change_the_structure(program):
    def values(texts):
        return {
            "kernels": {
                f"k{number}": {
                    **CUSTOM,
                    # The schema rejects control characters here, as the command line does.
                    "displayName": text if text.strip() and text.isprintable() else "Kernel",
                    "env": {"V": text},
                    "nodeSelector": {"n": text},
                    "authorizedUsers": ["u" + text.replace(",", "")],
                    "podTemplate": {"metadata": {"annotations": {"a": text}}},
                    "tolerations": [{"key": text}],
                }
                for number, text in enumerate(texts)
            },
            "gateway": {
                "extraEnv": {f"V{number}": text for number, text in enumerate(texts)},
                "podAnnotations": {f"a{number}": text for number, text in enumerate(texts)},
                "unauthorizedUsers": sorted({text.replace(",", "") or "x" for text in texts}),
                "nodeSelector": {f"n{number}": text for number, text in enumerate(texts)},
            },
        }

    tame = values([f"tame {number}" for number in range(len(HOSTILE))])
    wild = render(values(HOSTILE), program=program)
    assert shape(wild.objects) == shape(render(tame, program=program).objects)
    for number, text in enumerate(HOSTILE):
        spec = wild.kernelspecs[f"k{number}"]
        got = config(wild, f"k{number}")
        assert spec["env"] == {"V": text}
        assert spec["display_name"] in {text, "Kernel"}
        assert got["pod_template"]["metadata"]["annotations"]["a"] == text
        assert got["node_selector"] == {"n": text}
        assert got["tolerations"] == [{"key": text}]
        assert wild.env[f"V{number}"] == text
        assert wild.pod["metadata"]["annotations"][f"a{number}"] == text
        assert wild.pod["spec"]["nodeSelector"][f"n{number}"] == text


@pytest.mark.parametrize(
    "image",
    [
        "python",
        "acme/data-sci-py:2.0",
        "localhost:5000/a/b__c/d-e.f:v1_2",
        "[::1]:5000/a",
        "a@sha256:" + "a" * 64,
        "a/b:1@sha256:" + "a" * 64,
        "REGISTRY.example.com/a",
        "Upper",
        "a b",
        " a",
        "a\n",
        "a:",
        "a:tag:tag",
        "a//b",
        "/a",
        "a@sha256:short",
        "https://registry/a",
        "a-",
        "é",
        "{{ x }}",
    ],
)
def test_image_names_are_validated_as_on_the_command_line(image):
    values = {"kernels": {"custom": {"image": image}}}
    if is_image_name(image):
        assert config(render(values), "custom")["image_name"] == image
    else:
        message = refusal(values)
        assert f"kernels.custom.image: {json.dumps(image, ensure_ascii=False)} is not a" in message


@pytest.mark.parametrize(
    "ports", ["0..0", "1024..2024", "1024..2023", "1023..5000", "64535..65535", "64536..65536"]
)
def test_port_ranges_are_validated_as_on_the_command_line(ports):
    values = {"kernels": {"custom": {**CUSTOM, "portRange": ports}}}
    if port_range_problem(ports) is None:
        assert config(render(values), "custom").get("port_range", "0..0") == ports
    else:
        assert f"kernels.custom.portRange: {ports} is not valid" in refusal(values)


def test_kernels_accept_every_value_of_the_defaults():
    defaults = chart_values()["kernelDefaults"]
    rendered = render({"kernels": {"custom": {**defaults, **CUSTOM}}})
    assert rendered.kernelspecs == render({"kernels": {"custom": CUSTOM}}).kernelspecs
