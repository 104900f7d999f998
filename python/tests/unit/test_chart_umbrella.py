"""The chart as a dependency of another: conditions, aliases, tags, shared values."""

import shutil

import pytest
import yaml
from chart_rendering import CHART, HELMS, Rendered, RenderingFailed, helm, refusal, render

from ci.check_manifests import Loader

NAME = "gateway-provisioners"
CONDITION = {"name": NAME, "version": "1.0.0", "condition": f"{NAME}.enabled"}
FOREIGN_GLOBALS = {
    "storageClass": "fast",
    "imageRegistry": "mirror.example.com",
    "imagePullSecrets": [{"name": "mirror"}, "other"],
    "security": {"allowInsecureImages": True},
}


@pytest.fixture(params=HELMS)
def program(request):
    return request.param


@pytest.fixture
def umbrella(tmp_path, program):
    """Render a parent chart with these dependencies, and these values of its own."""

    def render_umbrella(*dependencies, release="platform", templates=(), **values):
        chart = tmp_path / "umbrella"
        shutil.rmtree(chart, ignore_errors=True)
        shutil.copytree(CHART, chart / "charts" / NAME)
        metadata = {"apiVersion": "v2", "name": "umbrella", "version": "0.1.0"}
        metadata["dependencies"] = list(dependencies)
        (chart / "Chart.yaml").write_text(yaml.safe_dump(metadata))
        (chart / "values.yaml").write_text(yaml.safe_dump(values))
        (chart / "templates").mkdir()
        for number, text in enumerate(templates):
            (chart / "templates" / f"{number}.yaml").write_text(text)
        arguments = ("template", release, str(chart), "--namespace", "notebooks")
        output = helm(program, *arguments)
        return Rendered(tuple(item for item in yaml.load_all(output, Loader) if item))

    return render_umbrella


def identities(rendered):
    return [
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        for item in rendered.objects
    ]


def test_condition_of_the_parent_decides(umbrella):
    objects = umbrella(CONDITION, **{NAME: {"enabled": True}}).objects
    assert len(objects) == len(render().objects)
    assert umbrella(CONDITION, **{NAME: {"enabled": False}}).objects == ()
    assert umbrella(CONDITION).objects


def test_tags_of_the_parent_decide(umbrella):
    dependency = {**CONDITION, "tags": ["notebooks"]}
    assert umbrella(dependency, tags={"notebooks": True}).objects
    assert umbrella(dependency, tags={"notebooks": False}).objects == ()


def test_disabling_without_a_condition_is_refused_with_the_remedy(umbrella, program):
    remedy = "add `condition: {}.enabled` to its dependency"
    assert remedy.format(NAME) in refusal({"enabled": False}, program=program)
    assert render({"enabled": True}, program=program).objects
    dependency = {"name": NAME, "version": "1.0.0", "alias": "lab"}
    with pytest.raises(RenderingFailed, match=remedy.format("lab")):
        umbrella(dependency, lab={"enabled": False})


def test_globals_of_the_parent_are_shared(umbrella):
    rendered = umbrella(CONDITION, **{"global": FOREIGN_GLOBALS})
    spec = rendered.pod["spec"]
    assert spec["containers"][0]["image"].startswith("mirror.example.com/elyra/gateway:")
    assert spec["imagePullSecrets"] == [{"name": "mirror"}, {"name": "other"}]
    [kernel] = rendered.kernelspecs.values()
    config = kernel["metadata"]["kernel_provisioner"]["config"]
    assert config["image_pull_secrets"] == ["mirror", "other"]


def test_values_can_be_imported_by_the_parent(umbrella):
    imported = {"import-values": [{"child": "gateway.service", "parent": "notebooks"}]}
    template = "kind: ConfigMap\nmetadata:\n  name: {{ .Values.notebooks.port | quote }}\n"
    rendered = umbrella({**CONDITION, **imported}, templates=[template])
    assert ("ConfigMap", None, "8888") in identities(rendered)


@pytest.mark.parametrize(
    ("release", "aliases"),
    [
        ("platform", ("small", "large")),
        ("small-and-large", ("small", "large")),
        ("small", ("small", "large")),
        ("x" * 53, ("notebooks-for-small-teams", "notebooks-for-large-teams")),
        ("platform", ("jupyter_Small", "jupyter_Large")),
    ],
)
def test_two_aliases_in_one_release_do_not_collide(umbrella, release, aliases):
    dependencies = [{"name": NAME, "version": "1.0.0", "alias": alias} for alias in aliases]
    rules = {"imagePuller": {"hook": {"enabled": True}, "continuous": {"enabled": True}}}
    values = {alias: {**rules, "limitRange": [{"type": "Pod"}]} for alias in aliases}
    rendered = umbrella(*dependencies, release=release, **values)
    found = identities(rendered)
    assert len(found) == len(set(found))
    for kind in ("Deployment", "DaemonSet"):
        selectors = [str(item["spec"]["selector"]) for item in rendered.all(kind)]
        assert len(selectors) == len(set(selectors))
    services = list(rendered.all("Service"))
    assert services[0]["spec"]["selector"] != services[1]["spec"]["selector"]
    for service in services:
        assert len(service["metadata"]["name"]) <= 63
        assert service["metadata"]["name"] == service["metadata"]["name"].lower()
        assert "_" not in service["metadata"]["name"]


def test_full_names_can_be_chosen_for_aliases(umbrella):
    dependencies = [
        {"name": NAME, "version": "1.0.0", "alias": alias} for alias in ("small", "large")
    ]
    names = {"small": {"fullnameOverride": "one"}, "large": {"fullnameOverride": "two"}}
    rendered = umbrella(*dependencies, **names)
    assert {item["metadata"]["name"] for item in rendered.all("Service")} == {"one", "two"}


def test_helm_lints_a_parent_chart(tmp_path, program):
    chart = tmp_path / "umbrella"
    shutil.copytree(CHART, chart / "charts" / NAME)
    metadata = {"apiVersion": "v2", "name": "umbrella", "version": "0.1.0", "icon": "https://x/i"}
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**metadata, "dependencies": [CONDITION]}))
    (chart / "values.yaml").write_text(yaml.safe_dump({NAME: {"enabled": True}}))
    (chart / "templates").mkdir()
    output = helm(program, "lint", "--strict", "--with-subcharts", str(chart))
    assert "0 chart(s) failed" in output


def test_templates_do_not_rely_on_the_schema(program):
    arguments = ("template", "r", str(CHART), "--skip-schema-validation")
    assert helm(program, *arguments, values={"unknown": {"key": 1}})
