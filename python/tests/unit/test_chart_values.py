"""Every value is documented and has an effect, and invalid values are refused with an explanation."""

import copy
import functools
import json
import re
import runpy

import pytest
import yaml
from chart_rendering import CHART, HELMS, REPOSITORY, RenderingFailed, chart_values, refusal, render
from jsonschema import Draft7Validator

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
EXERCISES = sorted((CHART / "ci").glob("*-values.yaml"))
CUSTOM = {"image": "acme/data-sci-py:2.0"}


README = runpy.run_path(str(REPOSITORY / "ci" / "update" / "chart_readme.py"))


@functools.cache
def documented():
    text = (CHART / "values.yaml").read_text()
    return {value.path: value for value in README["documented_values"](text)}


def exercise(path):
    return yaml.safe_load(path.read_text())


# The kernel in the ci values that sets every value of a kernel.
KERNEL_PATHS = {f"kernels.training.{key}" for key in SCHEMA["definitions"]["kernel"]["properties"]}


def leaves(values, prefix=""):
    """Yield the keys of each value in `values`, down to those that are documented as one."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and path not in documented().keys() | KERNEL_PATHS:
            yield from ((key, *rest) for rest in leaves(value, f"{path}."))
        else:
            yield (key,)


def value_at(values, keys):
    for key in keys:
        values = values.get(key, {})
    return values


def without(values, keys):
    values = copy.deepcopy(values)
    parent = values
    for key in keys[:-1]:
        parent = parent[key]
    del parent[keys[-1]]
    return values


def outcome(values, **options):
    """Return the objects, or Helm's error message."""
    try:
        return render(values, **options).objects
    except RenderingFailed as refused:
        return str(refused)


def schema_paths(schema, prefix=""):
    """Yield the dotted path of each value in the schema."""
    properties = {**resolved(schema).get("properties", {}), **schema.get("properties", {})}
    for key, child in properties.items():
        if child is False:
            continue
        path = f"{prefix}{key}"
        if "properties" in resolved(child) and path not in documented():
            yield from schema_paths(child, f"{path}.")
        else:
            yield path


def resolved(schema):
    """Return the definition that a schema refers to or extends, or else the schema itself."""
    for reference in [schema, *schema.get("allOf", ())]:
        if "$ref" in reference:
            return SCHEMA["definitions"][reference["$ref"].removeprefix("#/definitions/")]
    return schema


def test_every_value_has_a_description():
    assert [path for path, value in documented().items() if not value.description] == []


def test_schema_and_values_have_the_same_paths():
    # `enabled` is the parent chart's: a default would overrule its tags.
    in_schema = set(schema_paths(SCHEMA)) - {"kernels", "enabled"}
    in_values = {path for path in documented() if not path.startswith("kernels.")}
    assert in_schema == in_values
    kernel = set(SCHEMA["definitions"]["kernel"]["properties"])
    own = {path.removeprefix("kernels.python3.") for path in documented() if "s.python3." in path}
    assert own == {"enabled", "image", "displayName"}
    assert kernel - own == set(chart_values()["kernelDefaults"])


def test_schema_is_valid_and_accepts_the_defaults():
    Draft7Validator.check_schema(SCHEMA)
    Draft7Validator(SCHEMA).validate(chart_values())


def test_ci_values_change_every_default():
    defaults = chart_values()
    exercised = set()
    for path in EXERCISES:
        values = exercise(path)
        for keys in leaves(values):
            same = value_at(values, keys) == value_at(defaults, keys)
            assert not same, f"{path.name}: {'.'.join(keys)} is the default"
            exercised.add(".".join(keys))
    assert exercised >= documented().keys() | KERNEL_PATHS


@pytest.mark.slow
@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_every_value_has_an_effect(path):
    values = exercise(path)
    # `enabled: true` is the default of every kernel except those of the chart.
    without_effect = {("kernels", "training", "enabled")}
    whole = outcome(values)
    assert not isinstance(whole, str), whole
    for keys in leaves(values):
        if keys not in without_effect:
            assert outcome(without(values, keys)) != whole, f"{'.'.join(keys)} has no effect"


def test_templates_only_use_existing_values():
    known = set(documented())
    groups = {path.rpartition(".")[0] for path in known}
    groups |= {group.rpartition(".")[0] for group in groups} | {"kernels", "kernelDefaults"}
    for template in CHART.glob("templates/**/*"):
        if template.is_dir():
            continue
        text = template.read_text()
        for used in re.findall(r"\$?\.Values\.([\w.]+)", text):
            assert used in known | groups, f"{template.name} uses .Values.{used}"
        for used in re.findall(r"\$gateway\.([\w.]+)", text):
            assert f"gateway.{used}" in known | groups, f"{template.name} uses gateway.{used}"
        for used in re.findall(r"\$kernel\.(\w+)", text):
            assert used in SCHEMA["definitions"]["kernel"]["properties"], f"{template.name}: {used}"


@pytest.mark.slow
@pytest.mark.parametrize("program", HELMS)
def test_null_values_never_cause_a_template_error(program):
    """Null removes a default. The schema names the values that the chart needs."""
    for path in documented():
        output = outcome({}, settings=(f"{path}=null",), program=program)
        required = f"missing property '{path.rpartition('.')[2]}'"
        assert not isinstance(output, str) or required in output


REFUSED_BY_SCHEMA = [
    ({"kernel": {}}, "additional properties 'kernel' not allowed"),
    ({"kernels": []}, "at '/kernels': got array, want null or object"),
    ({"kernels": {"Custom": CUSTOM}}, "invalid propertyName 'Custom'"),
    ({"kernels": {"a.b": CUSTOM}}, "invalid propertyName 'a.b'"),
    ({"kernels": {"_a": CUSTOM}}, "invalid propertyName '_a'"),
    ({"kernels": {"../x": CUSTOM}}, "invalid propertyName '../x'"),
    ({"kernels": {"a": {"imgae": "x"}}}, "at '/kernels/a': additional properties 'imgae'"),
    ({"kernels": {"a": {"image": 2}}}, "at '/kernels/a/image': got number, want string"),
    ({"kernels": {"a": {"enabled": "no"}}}, "at '/kernels/a/enabled': got string, want boolean"),
    ({"kernels": {"a": {"language": "../julia"}}}, "at '/kernels/a/language'"),
    ({"kernels": {"a": {"language": "Julia"}}}, "at '/kernels/a/language'"),
    ({"kernels": {"a": {"pullPolicy": "always"}}}, "must be one of 'Always', 'IfNotPresent', 'N"),
    ({"kernels": {"a": {"env": {"N": 1}}}}, "at '/kernels/a/env/N': got number, want string"),
    ({"kernels": {"a": {"env": {"A-B": ""}}}}, "invalid propertyName 'A-B'"),
    ({"kernels": {"a": {"env": [{"name": "A"}]}}}, "/kernels/a/env': got array, want object"),
    ({"kernels": {"a": {"displayName": "a\nb"}}}, "at '/kernels/a/displayName'"),
    ({"kernels": {"a": {"launchTimeout": -1}}}, "at '/kernels/a/launchTimeout'"),
    ({"kernels": {"a": {"launchTimeout": "30s"}}}, "got string, want integer"),
    ({"kernels": {"a": {"portRange": "1024"}}}, "at '/kernels/a/portRange'"),
    ({"kernels": {"a": {"transportEncryption": "on"}}}, "must be one of 'auto', 'disabled', 'req"),
    ({"kernels": {"a": {"kernelClassName": "x y.z"}}}, "at '/kernels/a/kernelClassName'"),
    ({"kernels": {"a": {"resources": {"limit": {}}}}}, "additional properties 'limit'"),
    ({"kernels": {"a": {"authorizedUsers": "bob"}}}, "got string, want array"),
    ({"kernels": {"a": {"authorizedUsers": ["a,b"]}}}, "at '/kernels/a/authorizedUsers/0'"),
    ({"kernels": {"a": {"pullSecrets": [{"name": "x"}]}}}, "got object, want string"),
    ({"kernels": {"a": {"podTemplate": "spec:"}}}, "got string, want object"),
    ({"kernelDefaults": {"image": "x"}}, "at '/kernelDefaults/image': false schema"),
    ({"gateway": {"replicas": -1}}, "at '/gateway/replicas': minimum: got -1, want 0"),
    ({"gateway": {"image": {"tag": 2.0}}}, "at '/gateway/image/tag': got number, want string"),
    ({"gateway": {"image": {"repository": ""}}}, "at '/gateway/image/repository'"),
    ({"gateway": {"logLevel": "info"}}, "must be one of 'DEBUG', 'INFO', 'WARNING'"),
    ({"gateway": {"launchTimeout": 0}}, "at '/gateway/launchTimeout': minimum: got 0, want 1"),
    ({"gateway": {"cull": {"idle": 3}}}, "additional properties 'idle' not allowed"),
    ({"gateway": {"service": {"type": "ExternalName"}}}, "must be one of 'ClusterIP', 'NodePort'"),
    ({"gateway": {"service": {"port": 70000}}}, "maximum: got 70,000, want 65,535"),
    ({"gateway": {"clientEnv": ["A B"]}}, "at '/gateway/clientEnv/0'"),
    ({"gateway": {"extraEnv": {"A": {"value": "b"}}}}, "missing property 'valueFrom'"),
    ({"gateway": {"podAnnotations": {"a": True}}}, "got boolean, want string"),
    ({"gateway": {"auth": {"existingSecret": "A_B"}}}, "at '/gateway/auth/existingSecret'"),
    ({"fullnameOverride": "1st"}, "at '/fullnameOverride'"),
    ({"fullnameOverride": "x" * 64}, "maxLength: got 64, want 63"),
    ({"kernelNamespace": "a.b"}, "at '/kernelNamespace'"),
    ({"kernelspecs": {"imagePath": "kernels"}}, "at '/kernelspecs/imagePath'"),
    ({"networkPolicy": {"gateway": {"from": {}}}}, "got object, want array"),
    (
        {"gateway": {"cors": {"allowedOrigins": ["lab.example.com"]}}},
        "/gateway/cors/allowedOrigins/0",
    ),
    ({"gateway": {"cors": {"allowedOrigins": ["https://a/b"]}}}, "/gateway/cors/allowedOrigins/0"),
    ({"gateway": {"extraConfig": "c.X = 1"}}, "at '/gateway/extraConfig': got string, want object"),
    (
        {"gateway": {"podDisruptionBudget": {"maxUnavailable": 0}}},
        "at '/gateway/podDisruptionBudget/maxUnavailable'",
    ),
    ({"resourceQuota": {"hard": {"pods": 1}}}, "at '/resourceQuota/hard': got object, want"),
    ({"ingress": {"hosts": ["https://a"]}}, "at '/ingress/hosts/0'"),
    ({"metrics": {"interval": "30"}}, "at '/metrics/interval'"),
    ({"commonLabels": {"a": 1}}, "at '/commonLabels/a': got number, want string"),
    ({"global": {"imageRegistry": "https://mirror"}}, "at '/global/imageRegistry'"),
    ({"rbac": {"create": "yes"}}, "at '/rbac/create': got string, want boolean"),
    ({"gateway": {"healthPort": 8888}}, "at '/gateway/healthPort'"),
    ({"gateway": {"healthPort": 8877}}, "at '/gateway/healthPort'"),
    ({"gateway": {"healthPort": 80}}, "at '/gateway/healthPort': minimum"),
    ({"gateway": {"trustedProxies": ["ingress"]}}, "at '/gateway/trustedProxies/0'"),
    (
        {"networkPolicy": {"kernels": {"egress": "internetonly"}}},
        "at '/networkPolicy/kernels/egress': 'internetonly' does not match pattern",
    ),
    (
        {"networkPolicy": {"kernels": {"cloudIdentity": "irsa"}}},
        "at '/networkPolicy/kernels/cloudIdentity': value must be one of 'none', 'gke', 'eks-pod-identity'",
    ),
    ({"gateway": {"clientBufferBytes": 1000}}, "minimum: got 1,000, want 65,536"),
    (
        {"gateway": {"maxMessageBytes": {"toKernel": 1}}},
        "at '/gateway/maxMessageBytes/toKernel': minimum",
    ),
]


@pytest.mark.parametrize("program", HELMS)
@pytest.mark.parametrize(
    ("values", "message"), REFUSED_BY_SCHEMA, ids=lambda value: str(value)[:50]
)
def test_schema_refuses(values, message, program):
    output = refusal(values, program=program)
    assert "values don't meet the specifications of the schema" in output
    assert message in output


REFUSED_BY_TEMPLATES = [
    # jupyter_client replaces it on both sides: KernelManager._kernel_name_changed.
    (
        {"kernels": {"python": CUSTOM}},
        "kernels.python: Jupyter treats this name as python3; rename",
    ),
    (
        {"kernels": {"custom": {}}},
        "kernels.custom: image is missing; set kernels.custom.image, or set kernels.custom.enabled",
    ),
    (
        {"gateway": {"auth": {"token": "t" * 16, "existingSecret": "s"}}},
        "gateway.auth: token and existingSecret are both set; set one of them",
    ),
    (
        {"gateway": {"resources": {"limits": {"memory": "256Mi"}}}},
        "gateway.resources.limits.memory: 256Mi is less than the 352Mi that the gateway may need",
    ),
    (
        {"gateway": {"resources": {"limits": {"memory": 200_000_000}}}},
        "gateway.resources.limits.memory: 200000000 is less than the 352Mi",
    ),
    (
        {"gateway": {"maxMessageBytes": {"fromKernel": 2**27}}},
        "gateway.resources.limits.memory: 512Mi is less than the 736Mi",
    ),
    (
        {"gateway": {"clientBufferBytes": 2**27}},
        "gateway.clientBufferBytes: 134217728 is more than gateway.bufferBytes",
    ),
    ({"gateway": {"auth": {"token": "t" * 15}}}, "gateway.auth.token: must be at least 16"),
    ({"gateway": {"auth": {"token": "t" * 16 + "\n"}}}, "gateway.auth.token: must be"),
    (
        {"gateway": {"replicas": 2, "shutdownKernelsOnExit": True}},
        "gateway.shutdownKernelsOnExit: with several gateways, any one that exits",
    ),
    (
        {"gateway": {"serviceAccount": {"create": False}}},
        "gateway.serviceAccount: create is false but name is empty; set name to an existing ServiceAccount",
    ),
    (
        {"kernelServiceAccount": {"create": False}},
        "kernelServiceAccount: create is false but name is empty; set name to an existing ServiceAccount",
    ),
    (
        {"kernelServiceAccount": {"create": False, "name": "gateway-gateway-provisioners-gateway"}},
        "kernelServiceAccount.name: this is the gateway's ServiceAccount",
    ),
    (
        {"gateway": {"defaultKernel": "julia"}},
        'gateway.defaultKernel: "julia" is not an enabled kernel; set it to one of: python3',
    ),
    (
        {"kernels": {"custom": {**CUSTOM, "language": "r", "kernelClassName": "a.B"}}},
        "kernels.custom.kernelClassName: this value only applies to Python kernels, not to r",
    ),
    (
        {"kernels": {"python3": {"language": "pyhton"}}},
        'kernels.python3.language: the default image has no launcher for "pyhton"; set kernels.python3.image',
    ),
    (
        {"kernels": {"custom": {**CUSTOM, "authorizedUsers": ["root"]}}},
        'kernels.custom: user "root" is in both authorizedUsers and unauthorizedUsers',
    ),
    (
        {"gateway": {"tls": {"existingSecret": "s", "certManager": {"issuerRef": {"name": "i"}}}}},
        "gateway.tls: existingSecret and certManager.issuerRef are both set; set one of them",
    ),
    (
        {"gateway": {"tls": {"certManager": {"issuerRef": {"kind": "Issuer"}}}}},
        "gateway.tls.certManager.issuerRef: name is missing",
    ),
    (
        {"gateway": {"tls": {"certManager": {"dnsNames": ["a.example"]}}}},
        "gateway.tls.certManager.dnsNames: certManager.issuerRef is not set",
    ),
    (
        {"gateway": {"extraVolumes": [{"name": "tls", "emptyDir": {}}]}},
        'gateway.extraVolumes: the chart already has a volume "tls"; use another name',
    ),
    (
        {"gateway": {"extraVolumeMounts": [{"name": "x", "mountPath": "/tmp"}]}},
        "gateway.extraVolumeMounts: the chart already mounts a volume at /tmp; use another path",
    ),
    (
        {"gateway": {"extraContainers": [{"name": "gateway", "image": "x"}]}},
        'gateway: the chart already has a container "gateway"',
    ),
    (
        {"kernelspecs": {"existingClaim": "c", "image": "a/b"}},
        "kernelspecs: existingClaim and image are both set; set one of them",
    ),
    ({"kernelspecs": {"subPath": "a"}}, "kernelspecs.subPath: this is a folder of existingClaim"),
    (
        {"httpRoute": {"enabled": True}},
        "httpRoute.parentRefs: an HTTPRoute needs a Gateway; name one",
    ),
    (
        {"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
        "metrics: serviceMonitor and podMonitor would scrape everything twice",
    ),
    (
        {"commonLabels": {"app.kubernetes.io/component": "x"}},
        "commonLabels: the chart sets app.kubernetes.io/component itself; use another label",
    ),
    (
        {"gateway": {"extraEnv": {"KG_AUTH_TOKEN": "x"}}},
        "gateway.extraEnv.KG_AUTH_TOKEN: the chart sets this variable",
    ),
]


@pytest.mark.parametrize("program", HELMS)
@pytest.mark.parametrize(("values", "message"), REFUSED_BY_TEMPLATES, ids=lambda v: str(v)[:50])
def test_contradictions_are_refused(values, message, program):
    output = refusal(values, program=program)
    assert "These values cannot work:" in output
    assert message in output


def test_all_problems_are_reported_at_once():
    output = refusal(
        {
            "kernels": {"one": {}, "two": {"image": "No Image"}},
            "gateway": {"auth": {"token": "short"}, "defaultKernel": "none"},
        }
    )
    assert [line[4:].partition(":")[0] for line in output.splitlines() if line[:4] == "  - "] == [
        *("gateway.auth.token", "kernels.one", "kernels.two.image", "gateway.defaultKernel")
    ]


@pytest.mark.parametrize(
    "token", ["hunter2", 123456789, ["hunter2-hunter2-hunter2"], "hunter2 " * 3]
)
def test_refusals_never_quote_a_token(token):
    output = refusal({"gateway": {"auth": {"token": token}}})
    assert "hunter2" not in output
    assert "123456789" not in output


def test_refusals_never_quote_a_variable():
    values = {"gateway": {"extraEnv": {"A": 31415926, "KG_IP": "hunter2"}}}
    assert "31415926" not in refusal(values)
    del values["gateway"]["extraEnv"]["A"]
    assert "hunter2" not in refusal(values)


def test_readme_is_up_to_date():
    text = (CHART / "README.md").read_text()
    assert text == README["readme"](text, (CHART / "values.yaml").read_text())


@pytest.mark.parametrize(
    "memory", ["352Mi", "1Gi", "0.5Gi", "370M", "1e9", 400_000_000, "400000k", "1T", "1E", None]
)
def test_memory_limit_that_is_enough_is_accepted(memory):
    rendered = render({"gateway": {"resources": {"limits": {"memory": memory}}}})
    assert rendered.container["env"]


def test_lower_budgets_fit_a_lower_limit():
    render(
        {
            "gateway": {
                "bufferBytes": 2**25,
                "maxMessageBytes": {"fromKernel": 2**23, "toKernel": 2**23},
                "resources": {"limits": {"memory": "192Mi"}},
            }
        }
    )
