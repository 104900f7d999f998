"""The chart's values for identity: auth methods, groups, quotas, certificates."""

import json

import msgspec
import pytest
import yaml
from chart_rendering import CHART, HELMS, chart_values, refusal, render

from gateway_provisioners.gateway.identity.methods.header import HeaderSettings
from gateway_provisioners.gateway.identity.methods.jupyterhub import JupyterHubSettings
from gateway_provisioners.gateway.identity.methods.jwt import JwtSettings
from gateway_provisioners.gateway.identity.methods.tokens import TokenSettings
from gateway_provisioners.model.quota import KernelQuota
from gateway_provisioners.model.quota_settings import with_quotas

PEOPLE = {"type": "token", "existingSecret": "gateway-users"}
SSO = {"type": "jwt", "issuer": "https://sso.example.com", "audience": "gateway"}
HUB = {"type": "jupyterhub", "apiUrl": "http://hub.jupyterhub:8081/hub/api"}
PROXY = {"type": "header", "existingSecret": "gateway-proxy"}
TLS = {"existingSecret": "gateway-tls"}
CLIENTS = {**TLS, "clientCaConfigMap": "clients"}


def with_methods(*, gateway=None, **methods):
    return {"gateway": {**(gateway or {}), "auth": {"methods": methods}}}


def methods_of(rendered):
    """Return the methods as the gateway reads them."""
    return json.loads(rendered.env["GP_AUTH_METHODS"])


def auth_volume(rendered, name):
    """Return the source of a method's volume; where it is mounted must be the method's folder."""
    [mount] = [
        each for each in rendered.container["volumeMounts"] if each["name"] == f"auth-{name}"
    ]
    assert mount == {
        "name": f"auth-{name}",
        "mountPath": f"/run/auth/{name}",
        "readOnly": True,
    }
    [volume] = [each for each in rendered.pod["spec"]["volumes"] if each["name"] == f"auth-{name}"]
    return {key: value for key, value in volume.items() if key != "name"}


@pytest.mark.parametrize("program", HELMS)
def test_tokens_of_people_are_a_folder_with_a_file_for_each(program):
    robots = {"type": "token", "existingSecret": "robots", "role": "admin"}
    rendered = render(with_methods(people=PEOPLE, robots=robots), program=program)
    assert methods_of(rendered) == {
        "people": {"type": "token", "tokensFolder": "/run/auth/people"},
        "robots": {"type": "token", "tokensFolder": "/run/auth/robots", "role": "admin"},
    }
    secret = {"secretName": "gateway-users", "defaultMode": 0o444}
    assert auth_volume(rendered, "people") == {"secret": secret}


@pytest.mark.parametrize("program", HELMS)
def test_jwt_settings_reach_the_gateway(program):
    keys = {"keys": [{"kty": "EC", "crv": "P-256", "x": "eA", "y": "eQ", "kid": "1"}]}
    sso = {
        **SSO,
        "audience": ["gateway", "jupyter"],
        "jwks": keys,
        "usernameClaim": "email",
        "groupsClaim": ["realm_access", "roles"],
        "leewaySeconds": 0,
        "algorithms": ["ES256"],
        "order": 5,
        "usernames": {"jane@example.com": "jane"},
        "usernamePrefix": "sso:",
        "groupPrefix": "sso:",
        "adminUsers": ["sso:root"],
        "adminGroups": ["sso:admins"],
    }
    rendered = render(with_methods(sso=sso), program=program)
    assert methods_of(rendered) == {"sso": sso}
    assert not any("auth" in each["name"] for each in rendered.pod["spec"]["volumes"])


@pytest.mark.parametrize("method", [SSO, HUB], ids=["jwt", "jupyterhub"])
def test_a_ca_comes_from_a_configmap(method):
    rendered = render(with_methods(own={**method, "caConfigMap": "authority"}))
    assert methods_of(rendered) == {"own": {**method, "caFile": "/run/auth/own/ca.crt"}}
    assert auth_volume(rendered, "own") == {
        "configMap": {
            "name": "authority",
            "defaultMode": 0o444,
            "items": [{"key": "ca.crt", "path": "ca.crt"}],
        }
    }


SETTINGS = (TokenSettings, JwtSettings, JupyterHubSettings, HeaderSettings)
# What the chart has in place of the paths of files.
REFERENCES = {
    "tokensFolder": {"existingSecret"},
    "secretFile": {"existingSecret", "existingSecretKey"},
    "caFile": {"caConfigMap"},
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_schema_has_the_settings_of_the_gateway(settings):
    tag = settings.__struct_config__.tag
    definitions = json.loads((CHART / "values.schema.json").read_text())["definitions"]
    schema = definitions[f"{tag}Method"]
    fields = msgspec.structs.fields(settings)
    names = set().union(
        *(REFERENCES.get(field.encode_name, {field.encode_name}) for field in fields)
    )
    # `enabled: false` keeps a method from the gateway.
    assert set(schema["properties"]) == names | {"type", "enabled"}
    required = [field.encode_name for field in fields if field.required]
    assert set(schema.get("required", ())) == set().union(
        *(REFERENCES.get(name, {name}) for name in required)
    )


def test_the_gateway_understands_every_value():
    rendered = render(yaml.safe_load((CHART / "ci/everything-values.yaml").read_text()))
    methods = methods_of(rendered)
    union = TokenSettings | JwtSettings | JupyterHubSettings | HeaderSettings
    understood = {name: msgspec.convert(method, union) for name, method in methods.items()}
    assert {type(each) for each in understood.values()} == set(SETTINGS)
    for name, method in methods.items():
        read = json.loads(msgspec.json.encode(understood[name]))
        assert {key: read[key] for key in method} == method
    assert with_quotas(KernelQuota(), rendered.env["GP_QUOTAS"]).groups["researchers"]


def test_empty_values_are_as_if_they_were_not_set():
    sso = {**SSO, "jwksUrl": "", "jwks": {}, "clusterKeys": True, "caConfigMap": ""}
    [settings] = methods_of(render(with_methods(sso=sso))).values()
    assert settings == {**SSO, "jwksUrl": "", "clusterKeys": True}


def test_hub_settings_reach_the_gateway():
    hub = {**HUB, "requiredScopes": ["access:servers!server=USER/"], "services": ["grader"]}
    assert methods_of(render(with_methods(hub=hub))) == {"hub": hub}


@pytest.mark.parametrize(("value", "key"), [({}, "secret"), ({"existingSecretKey": "k.1"}, "k.1")])
def test_the_secret_of_a_proxy_is_a_file(value, key):
    headers = {"userHeader": "X-User", "groupsHeader": "X-Groups", "secretHeader": "X-Secret"}
    rendered = render(with_methods(proxy={**PROXY, **headers, **value}))
    assert methods_of(rendered) == {
        "proxy": {"type": "header", **headers, "secretFile": "/run/auth/proxy/secret"}
    }
    assert auth_volume(rendered, "proxy") == {
        "secret": {
            "secretName": "gateway-proxy",
            "defaultMode": 0o444,
            "items": [{"key": key, "path": "secret"}],
        }
    }


def test_certificates_of_a_proxy_need_no_secret():
    proxy = {"type": "header", "certificateNames": ["proxy.example.com"]}
    rendered = render(with_methods(gateway={"tls": CLIENTS}, proxy=proxy))
    assert methods_of(rendered) == {"proxy": proxy}
    assert rendered.env["KG_CLIENT_CA"] == "/run/client-ca/ca.crt"
    [mount] = [each for each in rendered.container["volumeMounts"] if each["name"] == "client-ca"]
    assert mount["mountPath"] == "/run/client-ca"
    # An operator may have set it in this way before there was a value.
    extra = {"tls": TLS, "extraEnv": {"KG_CLIENT_CA": "/etc/authority/ca.crt"}}
    assert methods_of(render(with_methods(gateway=extra, proxy=proxy))) == {"proxy": proxy}


@pytest.mark.parametrize("program", HELMS)
def test_null_removes_a_method(program):
    rendered = render(with_methods(people=PEOPLE, hub=None), program=program)
    assert set(methods_of(rendered)) == {"people"}
    nothing = render(
        with_methods(people=PEOPLE), settings=("gateway.auth.methods.people=null",), program=program
    )
    assert nothing.env["GP_AUTH_METHODS"] == ""
    assert nothing.one("Deployment") == render(program=program).one("Deployment")


def test_methods_are_data():
    odd = "\"$(KG_AUTH_TOKEN) {{ .Values }} \u2028 <&> '\\\n"
    sso = {**SSO, "audience": odd, "usernames": {odd: odd}}
    rendered = render(with_methods(sso=sso))
    assert methods_of(rendered) == {"sso": sso}
    # Kubernetes would replace it by the variable's value.
    assert "$(" not in rendered.env["GP_AUTH_METHODS"]


def test_methods_change_neither_the_token_nor_any_right():
    before, after = render(), render(with_methods(people=PEOPLE, sso=SSO, hub=HUB, proxy=PROXY))
    assert before.env["KG_AUTH_TOKEN"] == after.env["KG_AUTH_TOKEN"]
    changed = [
        one["kind"]
        for one, other in zip(before.objects, after.objects, strict=True)
        if one != other and one["kind"] != "Secret"
    ]
    assert changed == ["Deployment"]
    assert not list(after.all("ClusterRole")) + list(after.all("ClusterRoleBinding"))


def test_only_the_gateway_gets_the_secrets_of_methods():
    extra = {
        "extraContainers": [{"name": "side", "image": "a"}],
        "extraInitContainers": [{"name": "before", "image": "a"}],
    }
    values = {**with_methods(gateway=extra, people=PEOPLE, proxy=PROXY)}
    rendered = render({**values, "kernelspecs": {"image": "acme/specs:1"}})
    spec = rendered.pod["spec"]
    assert [each["name"] for each in spec["containers"]] == ["gateway", "side"]
    for other in (*spec["containers"][1:], *spec["initContainers"]):
        mounts = other.get("volumeMounts", [])
        assert not [each for each in mounts if each["name"].startswith("auth-")]
    assert "auth-" not in str(rendered.one("Pod"))


REFUSED_BY_SCHEMA = [
    ({"People": PEOPLE}, "invalid propertyName 'People'"),
    ({"a.b": PEOPLE}, "invalid propertyName 'a.b'"),
    ({"-a": PEOPLE}, "invalid propertyName '-a'"),
    ({"a" * 41: PEOPLE}, "maxLength: got 41, want 40"),
    ({"x": {}}, "at '/gateway/auth/methods/x': missing property 'type'"),
    (
        {"x": {"type": "ldap"}},
        "at '/gateway/auth/methods/x/type': value must be one of 'token', 'jwt', 'jupyterhub', 'header'",
    ),
    ({"x": {"type": "token"}}, "at '/gateway/auth/methods/x': missing property 'existingSecret'"),
    ({"x": {**PEOPLE, "existingSecret": ""}}, "at '/gateway/auth/methods/x/existingSecret'"),
    ({"x": {**PEOPLE, "role": "root"}}, "value must be one of 'user', 'admin'"),
    ({"x": {**PEOPLE, "issuer": "a"}}, "methods/x': additional properties 'issuer' not allowed"),
    ({"x": {**PEOPLE, "order": -1}}, "at '/gateway/auth/methods/x/order'"),
    ({"x": {**PEOPLE, "order": "1"}}, "got string, want integer"),
    ({"x": {**PEOPLE, "adminUsers": "root"}}, "got string, want array"),
    ({"x": {"type": "jwt"}}, "missing properties 'issuer', 'audience'"),
    ({"x": {**SSO, "audience": []}}, "at '/gateway/auth/methods/x/audience'"),
    ({"x": {**SSO, "audience": ""}}, "at '/gateway/auth/methods/x/audience'"),
    ({"x": {**SSO, "algorithms": ["none"]}}, "at '/gateway/auth/methods/x/algorithms/0'"),
    ({"x": {**SSO, "algorithms": ["HS256"]}}, "at '/gateway/auth/methods/x/algorithms/0'"),
    ({"x": {**SSO, "algorithms": []}}, "at '/gateway/auth/methods/x/algorithms'"),
    ({"x": {**SSO, "jwksUrl": "http://sso.example.com/keys"}}, "methods/x/jwksUrl'"),
    ({"x": {**SSO, "caFile": "/a"}}, "additional properties 'caFile' not allowed"),
    ({"x": {"type": "jupyterhub"}}, "missing property 'apiUrl'"),
    ({"x": {**HUB, "apiUrl": "hub:8081"}}, "at '/gateway/auth/methods/x/apiUrl'"),
    ({"x": {**HUB, "requiredScopes": []}}, "at '/gateway/auth/methods/x/requiredScopes'"),
    ({"x": {**PROXY, "userHeader": "X User"}}, "at '/gateway/auth/methods/x/userHeader'"),
    ({"x": {**PROXY, "existingSecretKey": "../a"}}, "methods/x/existingSecretKey'"),
]


@pytest.mark.parametrize("program", HELMS)
@pytest.mark.parametrize(("methods", "message"), REFUSED_BY_SCHEMA, ids=lambda v: str(v)[:50])
def test_the_schema_says_what_is_wrong_with_a_method(methods, message, program):
    output = refusal(with_methods(**methods), program=program)
    assert "values don't meet the specifications of the schema" in output
    assert message in output
    assert len([line for line in output.splitlines() if line.startswith("- at ")]) == 1


SECRET = "hunter2-hunter2-hunter2"


@pytest.mark.parametrize(
    "method",
    [
        {**PEOPLE, "tokens": {"alice": SECRET}},
        {**PEOPLE, "token": SECRET},
        {**PROXY, "secret": SECRET},
        {**HUB, "apiToken": SECRET},
        {**HUB, "apiUrl": f"https://user:{SECRET}@hub/hub/api"},
        {**SSO, "issuer": f"https://user:{SECRET}@sso"},
        {**SSO, "clientSecret": SECRET},
        {**SSO, "jwks": {"keys": [{"kty": "oct", "k": SECRET}]}},
        {**SSO, "jwks": {"keys": [{"kty": "EC", "d": SECRET}]}},
    ],
    ids=str,
)
def test_secrets_cannot_be_values(method):
    assert SECRET not in refusal(with_methods(x=method))


REFUSED_BY_TEMPLATES = [
    (
        with_methods(proxy={"type": "header"}),
        "gateway.auth.methods.proxy: any client could send the header; set existingSecret to a Secret",
    ),
    (
        with_methods(proxy={**PROXY, "certificateNames": ["a"]}),
        "gateway.auth.methods.proxy.certificateNames: the gateway does not ask clients for certificates",
    ),
    (
        with_methods(gateway={"tls": TLS}, proxy={"type": "header", "certificateNames": ["a"]}),
        "gateway.auth.methods.proxy.certificateNames: the gateway does not ask clients for certificates",
    ),
    (
        with_methods(people={**PEOPLE, "existingSecret": "gateway-gateway-provisioners-token"}),
        "gateway.auth.methods.people.existingSecret: this Secret has the administrators' token",
    ),
    (
        with_methods(sso={**SSO, "clusterKeys": True, "jwksUrl": "https://a/keys"}),
        "gateway.auth.methods.sso: more than one of jwksUrl, jwks and clusterKeys is set",
    ),
    (
        with_methods(sso={**SSO, "issuer": "http://sso.example.com"}),
        "gateway.auth.methods.sso.issuer: its keys would be fetched from there, so it must begin with https",
    ),
    (
        with_methods(one=SSO, two=SSO),
        "gateway.auth.methods.two.issuer: gateway.auth.methods.one has the same issuer",
    ),
    (
        with_methods(hub={**HUB, "apiUrl": "https://user:password@hub/hub/api"}),
        "gateway.auth.methods.hub.apiUrl: the URL must not contain a user or a password",
    ),
    (
        with_methods(sso={**SSO, "jwks": {"keys": [{"kty": "oct", "k": "a"}]}}),
        "gateway.auth.methods.sso.jwks: this includes a private or symmetric key",
    ),
    (
        {"gateway": {"tls": {"clientCaConfigMap": "clients"}}},
        "gateway.tls.clientCaConfigMap: clients show certificates only to a gateway with TLS",
    ),
    (
        {"gateway": {"tls": {**TLS, "testSecret": "test"}}},
        "gateway.tls.testSecret: clients need no certificate",
    ),
    (
        {"gateway": {"quotas": {"groups": {"students": {"kernels": 1}}}}},
        'gateway.quotas.groups: group "students" does not exist; add it to userGroups',
    ),
    (
        with_methods(
            gateway={"extraVolumes": [{"name": "auth-people", "emptyDir": {}}]}, people=PEOPLE
        ),
        'gateway.extraVolumes: the chart already has a volume "auth-people"',
    ),
    (
        with_methods(
            gateway={"extraVolumeMounts": [{"name": "a", "mountPath": "/run/auth/people"}]},
            people=PEOPLE,
        ),
        "gateway.extraVolumeMounts: the chart already mounts a volume at /run/auth/people",
    ),
]


@pytest.mark.parametrize("program", HELMS)
@pytest.mark.parametrize(("values", "message"), REFUSED_BY_TEMPLATES, ids=lambda v: str(v)[:50])
def test_contradictions_are_refused(values, message, program):
    output = refusal(values, program=program)
    assert "These values cannot work:" in output
    assert message in output


@pytest.mark.parametrize(
    "variable",
    [
        *("GP_AUTH_METHODS", "GP_STRICT_USERNAME", "GP_SHARING", "GP_USER_GROUPS_FILE"),
        *("GP_QUOTAS", "GP_MAX_STARTS_PER_USER", "GP_AUDIT", "KG_LIST_KERNELS"),
    ],
)
def test_variables_of_identity_cannot_be_set_past_their_values(variable):
    output = refusal({"gateway": {"extraEnv": {variable: "x"}}})
    assert f"gateway.extraEnv.{variable}: the chart sets this variable" in output


@pytest.mark.parametrize("groups", [{}, {"analysts": ["alice", "bob"], "Ünïcode \u2028": ["x"]}])
def test_user_groups_are_a_file_that_is_updated_while_the_gateway_runs(groups):
    rendered = render({"userGroups": groups})
    [configmap] = [
        each
        for each in rendered.all("ConfigMap")
        if each["metadata"]["name"] == "gateway-gateway-provisioners-user-groups"
    ]
    assert {key: json.loads(text) for key, text in configmap["data"].items()} == {
        "groups.json": groups
    }
    [mount] = [each for each in rendered.container["volumeMounts"] if each["name"] == "user-groups"]
    assert "subPath" not in mount
    assert rendered.env["GP_USER_GROUPS_FILE"] == f"{mount['mountPath']}/groups.json"
    assert rendered.one("Deployment") == render().one("Deployment")


@pytest.mark.parametrize("program", HELMS)
def test_quotas_reach_the_gateway(program):
    quotas = {
        "eachUser": {"cpus": 0.5, "memory": "32Gi", "gpus": 1},
        "users": {
            "alice": {"kernels": 20, "memory": 137438953472, "gpus": "unlimited"},
            "bob": None,
        },
        "groups": {"students": {"cpus": "200"}},
    }
    values = {"gateway": {"quotas": quotas}, "userGroups": {"students": ["carol"]}}
    env = render(values, program=program).env
    del quotas["users"]["bob"]
    assert json.loads(env["GP_QUOTAS"]) == quotas
    # A number that the gateway reads as one, and not 1.3e+11.
    assert "137438953472" in env["GP_QUOTAS"]
    assert render({"gateway": {"quotas": {"users": {}}}}, program=program).env["GP_QUOTAS"] == ""


@pytest.mark.parametrize(
    ("quotas", "place"),
    [
        ({"eachUser": {"kernels": 1}}, "eachUser': additional properties 'kernels' not allowed"),
        ({"eachUser": {"memory": "4GB"}}, "/eachUser/memory'"),
        ({"users": {"alice": {"cpus": -1}}}, "/users/alice/cpus'"),
        ({"groups": {"a": {"kernels": 1.5}}}, "/groups/a/kernels'"),
        ({"hours": {}}, "additional properties 'hours' not allowed"),
    ],
)
def test_quotas_that_make_no_sense_are_refused(quotas, place):
    output = refusal({"gateway": {"quotas": quotas}})
    assert "at '/gateway/quotas" in output
    assert place in output


@pytest.mark.parametrize("audit", ["stdout", "none", "/var/log/audit.json"])
def test_audit_is_a_place(audit):
    assert render({"gateway": {"audit": audit}}).env["GP_AUDIT"] == audit


@pytest.mark.parametrize("audit", ["", "stderr", "audit.json", "/var/log/"])
def test_audit_refuses_other_places(audit):
    assert "at '/gateway/audit'" in refusal({"gateway": {"audit": audit}})


def test_helm_test_shows_a_certificate_where_clients_need_one():
    [container] = render({"gateway": {"tls": {**CLIENTS, "testSecret": "test"}}}).one("Pod")[
        "spec"
    ]["containers"]
    assert {"name": "CLIENT_CERTIFICATE", "value": "/run/client-tls"} in container["env"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts == {"certificate": "/run/tls", "client-certificate": "/run/client-tls"}
    assert not list(render({"gateway": {"tls": CLIENTS}}).all("Pod"))


def test_probes_need_no_certificate():
    values = {"gateway": {"tls": {**CLIENTS, "testSecret": "test"}}}
    container = render(values).container
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == render().container[probe]["httpGet"]


def test_defaults_are_those_of_a_gateway_for_one_token():
    gateway = chart_values()["gateway"]
    assert gateway["auth"]["methods"] == {}
    assert gateway["listKernels"] is True
    assert gateway["auth"]["sharing"] is True
