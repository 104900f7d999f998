"""Helm 4 and Helm 3: rendering, linting, packaging, and the installation notes."""

import copy
import re
import shutil
import subprocess
import tarfile

import pytest
import yaml
from chart_rendering import CHART, HELMS, RenderingFailed, executable, helm, render

from gateway_provisioners import __version__

EXERCISES = {path.stem: path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
VALUES = {
    "default": {},
    "custom kernel": {"kernels": {"custom": {"image": "acme/data-sci-py:2.0"}}},
    "no kernel": {"kernels": {"python3": {"enabled": False}}},
    **{name: yaml.safe_load(path.read_text()) for name, path in EXERCISES.items()},
}
each_value = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())


def comparable(rendered):
    """Return the objects without the token, which is random."""
    objects = copy.deepcopy(list(rendered.objects))
    for item in objects:
        if item["kind"] == "Secret":
            assert item["data"].keys() == {"token"}
            item["data"] = {}
    return sorted(objects, key=lambda item: (item["kind"], item["metadata"]["name"]))


@each_value
def test_helm_4_and_helm_3_render_the_same(values):
    four, three = (comparable(render(values, program=program)) for program in HELMS)
    assert four == three


@each_value
@pytest.mark.parametrize("program", HELMS)
def test_rendering_is_reproducible(values, program):
    """Argo CD and other tools that render without a cluster need this; they use an existing Secret."""
    values = copy.deepcopy(values)
    values.setdefault("gateway", {})["auth"] = {"existingSecret": "corporate"}
    first, second = (helm(program, "template", "r", str(CHART), values=values) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("program", HELMS)
def test_nothing_but_the_generated_token_is_random(program):
    first, second = (helm(program, "template", "r", str(CHART)) for _ in range(2))
    assert first != second
    first, second = (re.sub("(?m)^  token: .*$", "", text) for text in (first, second))
    assert first == second


@each_value
@pytest.mark.parametrize("program", HELMS)
def test_lint_finds_nothing(values, program):
    output = helm(program, "lint", "--strict", str(CHART), values=values)
    assert "1 chart(s) linted, 0 chart(s) failed" in output


@pytest.mark.parametrize("program", HELMS)
def test_old_clusters_are_refused(program):
    with pytest.raises(RenderingFailed, match=r"requires kubeVersion: >=1\.30\.0-0"):
        helm(program, "template", "r", str(CHART), "--kube-version", "1.29.9")
    helm(program, "template", "r", str(CHART), "--kube-version", "1.30.0-gke.1")


@pytest.mark.parametrize("program", HELMS)
def test_package_contains_only_what_users_need(program, tmp_path):
    command = [executable(program), "package", CHART, "--destination", tmp_path]
    subprocess.run(command, capture_output=True, check=True)
    (archive,) = tmp_path.iterdir()
    with tarfile.open(archive) as package:
        files = {name.removeprefix("gateway-provisioners/") for name in package.getnames()}
    assert {"Chart.yaml", "README.md", "values.yaml", "values.schema.json"} <= files
    assert not [file for file in files if file.startswith("ci/")]


@pytest.fixture
def notes(tmp_path):
    """Render NOTES.txt, which `helm template` does not show, through a copy of the chart."""

    def render_notes(values=None, **options):
        chart = shutil.copytree(CHART, tmp_path / "chart", dirs_exist_ok=True)
        text = (CHART / "templates" / "NOTES.txt").read_text()
        templates = chart / "templates"
        (templates / "_notes.tpl").write_text('{{- define "notes" -}}\n' + text + "{{- end -}}\n")
        (templates / "notes.yaml").write_text(
            'kind: Notes\ntext: {{ include "notes" . | quote }}\n'
        )
        output = helm(
            "helm4",
            *("template", "gateway", str(chart), "--namespace", "notebooks"),
            *("--show-only", "templates/notes.yaml"),
            values=values,
        )
        return yaml.safe_load(output)["text"]

    return render_notes


def test_notes_show_the_next_commands(notes):
    text = notes()
    assert "  python3  elyra/kernel-py:" in text
    for command in (
        "kubectl --namespace notebooks port-forward service/gateway-gateway-provisioners 9999:8888",
        'curl --header "Authorization: token $JUPYTER_GATEWAY_AUTH_TOKEN" http://localhost:9999',
        "helm test gateway --namespace notebooks",
        "jupyter lab --gateway-url http://localhost:9999",
        "--reset-then-reuse-values \\\n       --set kernels.custom.image=acme/data-sci-py:2.0",
    ):
        assert command in text


def test_commands_in_the_notes_are_valid_shell(notes):
    commands = "\n".join(line for line in notes().splitlines() if line.startswith("     "))
    assert commands.count("\n") > 5
    subprocess.run(["bash", "-n"], input=commands, text=True, check=True)


def test_token_command_in_the_notes_names_the_key(notes):
    auth = {"existingSecret": "corporate", "existingSecretKey": "jupyter.token"}
    text = notes({"gateway": {"auth": auth}})
    assert "get secret corporate" in text
    assert """--output go-template='{{ index .data "jupyter.token" | base64decode }}'""" in text


def test_notes_never_show_the_token(notes):
    assert "correct-horse" not in notes({"gateway": {"auth": {"token": "correct-horse-battery"}}})
    assert not re.search(r"[A-Za-z0-9]{48}", notes())


def getting_in(text):
    """Return the paragraphs about who can get in, on one line each."""
    _, _, rest = text.partition("Who can get in:\n\n")
    return [" ".join(paragraph.split()) for paragraph in rest.split("\n\n")]


def test_notes_warn_that_a_single_token_opens_everything(notes):
    tokens, warning, *_ = getting_in(notes())
    assert tokens == "the token in Secret gateway-gateway-provisioners-token"
    assert warning.startswith("Everyone who holds it can do everything: use and end the kernels of")
    assert "gateway.auth.methods" in warning
    assert "and get its token:" in notes()
    assert "Any holder of the token can take" in notes()


def test_notes_name_each_way_to_get_in_by_order(notes):
    methods = {
        "people": {"type": "token", "existingSecret": "users"},
        "ops": {"type": "token", "existingSecret": "admins", "role": "admin", "order": 900},
        "sso": {"type": "jwt", "issuer": "https://sso.example.com", "audience": ["a", "b"]},
        "cluster": {
            "type": "jwt",
            "issuer": "https://k8s",
            "audience": "a",
            "clusterKeys": True,
        },
        "hub": {"type": "jupyterhub", "apiUrl": "http://hub/api"},
        "proxy": {
            "type": "header",
            "existingSecret": "proxy",
            "userHeader": "X-User",
            "certificateNames": ["p"],
        },
        "gone": None,
    }
    tls = {"existingSecret": "tls", "clientCaConfigMap": "clients"}
    text = notes({"gateway": {"auth": {"methods": methods}, "tls": tls}})
    _, _, rest = text.partition("Who can get in:\n\n")
    listed, rules, *_ = rest.split("\n\n")
    assert [line.strip() for line in listed.splitlines()] == [
        "the token in Secret gateway-gateway-provisioners-token: administrators, who see and use all kernels",
        "people  the tokens in Secret users, whose keys are the users' names",
        "proxy  users that a proxy names in X-User, with the secret in Secret proxy, with a certificate of p",
        "cluster  JWTs of https://k8s for a, with this cluster's keys: tokens of ServiceAccounts",
        "sso  JWTs of https://sso.example.com for a or b",
        "hub  tokens of the JupyterHub at http://hub/api with the scopes access:servers!server=USER/",
        "ops  the tokens in Secret admins, which are those of administrators",
    ]
    assert "only their own kernels, and those that are shared with them." in " ".join(rules.split())
    assert "and get the administrators' token:" in text
    assert "Any user can take as much of it" in text
    assert "holder of the token" not in text
    assert "`helm test` checks nothing" in text


def test_notes_without_sharing_and_lists(notes):
    people = {"people": {"type": "token", "existingSecret": "users"}}
    gateway = {"auth": {"methods": people, "sharing": False}, "listKernels": False}
    paragraphs = getting_in(notes({"gateway": gateway}))
    assert paragraphs[1].endswith("Users see and use only their own kernels.")
    assert paragraphs[2].startswith("gateway.listKernels is false: clients cannot list kernels")
    assert "gateway.listKernels" not in notes()


LIMITED = {"resources": {"limits": {"memory": "2Gi", "cpu": 2}}}
BOUNDED = {"gateway": {"maxKernels": 100}, "resourceQuota": {"pods": 110}}


def without_limit(text):
    """Return the items in the list of what has no limit."""
    _, _, listed = text.partition("NO LIMIT is set on the following.")
    return [line.strip(" -") for line in listed.splitlines() if line.startswith("  - ")]


def test_notes_say_what_has_no_limit(notes):
    memory, cpus = (
        "The memory of a kernel of: ",
        "The CPUs that clients may request for a kernel of: ",
    )
    assert without_limit(notes()) == [
        f"{memory}python3.",
        f"{cpus}python3.",
        "The number of kernels, of one user too.",
        "The total of all kernels.",
    ]
    assert without_limit(notes({**BOUNDED, "kernelDefaults": LIMITED})) == []
    ranged = [{"type": "Container", "max": {"cpu": 4}}, {"type": "Pod", "max": {"memory": "8Gi"}}]
    assert without_limit(notes({**BOUNDED, "limitRange": ranged})) == [f"{memory}python3."]
    r = {"enabled": True, "profiles": {"large": LIMITED}, "clientPolicy": {"maxCpus": 0.5}}
    kernels = {"python3": LIMITED, "r": r}
    assert without_limit(notes({**BOUNDED, "kernels": kernels})) == [f"{memory}r."]
    policy = {"maxKernelsPerUser": 3, "clientPolicy": {"maxCpus": 0.5}}
    kernels = {"python3": {"clientPolicy": {"maxCpus": ""}}, "r": r}
    assert without_limit(notes({"gateway": policy, "kernels": kernels})) == [
        f"{memory}python3, r.",
        f"{cpus}python3.",
        "The number of kernels.",
        "The total of all kernels.",
    ]


def test_notes_of_a_stopped_gateway_without_kernels(notes):
    text = notes({"gateway": {"replicas": 0}, "kernels": {"python3": {"enabled": False}}})
    assert "no kernel yet" in text
    assert "The gateway is stopped" in text


@pytest.mark.parametrize(
    "route", [{"ingress": {"enabled": True}}, {"httpRoute": {"enabled": True, "parentRefs": [{}]}}]
)
def test_notes_ask_for_the_networks_of_proxies(notes, route):
    advice = "gateway.trustedProxies is not set"
    assert advice in notes(route)
    assert advice not in notes({**route, "gateway": {"trustedProxies": ["10.0.0.0/8"]}})
    assert advice not in notes()


def test_notes_say_where_unpublished_images_would_be_pulled_from(notes):
    text = notes({"kernels": {"custom": {"image": "acme/data-sci-py:2.0"}}})
    head, _, steps = text.partition("This project has not published them there.")
    assert "pull them from docker.io, because neither their names nor global.imageRegistry" in head
    assert re.findall(r"^  (\S+/\S+)$", head, re.MULTILINE) == [
        f"elyra/gateway:{__version__}",
        f"elyra/kernel-py:{__version__}",
    ]
    assert steps


@pytest.mark.parametrize(
    "values",
    [
        {"global": {"imageRegistry": "registry.example.com"}},
        {
            "gateway": {"image": {"repository": "registry.example.com/elyra/gateway"}},
            "kernels": {"python3": {"image": "registry.example.com/elyra/kernel-py:1.0.0"}},
        },
    ],
)
def test_notes_are_silent_about_images_with_a_registry(notes, values):
    assert "docker.io" not in notes(values)


def test_notes_respect_tls_and_the_kernels_namespace(notes):
    text = notes({"kernelNamespace": "kernels", "gateway": {"tls": {"existingSecret": "own"}}})
    assert "starts kernels as pods in namespace kernels:" in text
    assert "https://localhost:9999/api/kernelspecs" in text
    assert "jupyter lab --gateway-url https://localhost:9999" in text
    assert "http://" not in text


def test_notes_of_an_ingress(notes):
    secure = {"enabled": True, "hosts": ["a.example", "b.example"], "tlsSecret": "own"}
    assert (
        "The gateway is also available through an Ingress: https://a.example https://b.example."
        in notes({"ingress": secure})
    )
    text = notes({"ingress": {"enabled": True}})
    assert "The gateway is also available through an Ingress: any host name." in text
    assert "make sure that the token does not cross the network" in text


def test_notes_mention_additional_kernelspecs(notes):
    assert "and the kernelspecs of the PersistentVolumeClaim specs" in notes(
        {"kernelspecs": {"existingClaim": "specs"}}
    )
    assert "and the kernelspecs of the image acme/specs:1" in notes(
        {"kernelspecs": {"image": "acme/specs:1"}}
    )
