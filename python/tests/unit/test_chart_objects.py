"""The objects of a release: rights, names, environment, and restarts of the gateway."""

import base64
import re

import pytest
import yaml
from chart_rendering import CHART, chart_values, refusal, render

from gateway_provisioners import __version__

TOKEN = "correct-horse-battery-staple"


def names(rendered):
    return {(item["kind"], item["metadata"]["name"]) for item in rendered.objects}


def test_objects_of_the_default_release():
    assert names(render()) == {
        ("Deployment", "gateway-gateway-provisioners"),
        ("Service", "gateway-gateway-provisioners"),
        ("ServiceAccount", "gateway-gateway-provisioners-gateway"),
        ("ServiceAccount", "gateway-gateway-provisioners-kernel"),
        ("Role", "gateway-gateway-provisioners-gateway"),
        ("RoleBinding", "gateway-gateway-provisioners-gateway"),
        ("Secret", "gateway-gateway-provisioners-token"),
        ("ConfigMap", "gateway-gateway-provisioners-kernelspecs"),
        ("ConfigMap", "gateway-gateway-provisioners-user-groups"),
        ("NetworkPolicy", "gateway-gateway-provisioners-gateway"),
        ("NetworkPolicy", "gateway-gateway-provisioners-kernels"),
        ("Pod", "gateway-gateway-provisioners-test"),
    }


def test_chart_and_package_have_the_same_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_role_grants_exactly_what_the_gateway_needs():
    assert render().one("Role")["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["pods"],
            "verbs": ["create", "list", "watch", "patch", "delete"],
        },
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "verbs": ["create", "get", "patch"],
        },
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "watch"]},
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["gateway-gateway-provisioners-kernelspecs"],
            "verbs": ["list", "watch"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["gateway-gateway-provisioners-leader"],
            "verbs": ["get", "update"],
        },
        {
            "apiGroups": ["apps"],
            "resources": ["deployments"],
            "resourceNames": ["gateway-gateway-provisioners"],
            "verbs": ["get"],
        },
    ]


def test_role_is_bound_only_to_the_gateway_account():
    binding = render().one("RoleBinding")
    assert binding["roleRef"]["kind"] == "Role"
    assert binding["subjects"] == [
        {
            "kind": "ServiceAccount",
            "name": "gateway-gateway-provisioners-gateway",
            "namespace": "notebooks",
        }
    ]


def test_only_the_gateways_container_gets_a_service_account_token():
    side = {"extraContainers": [{"name": "side", "image": "side:1"}]}
    rendered = render({"gateway": side, "kernelspecs": {"image": "specs:1"}})
    accounts = list(rendered.all("ServiceAccount"))
    assert len(accounts) == 2
    assert all(account["automountServiceAccountToken"] is False for account in accounts)
    spec = rendered.pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    [volume] = [each for each in spec["volumes"] if "projected" in each]
    token, ca = volume["projected"]["sources"]
    assert token == {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    assert ca["configMap"]["name"] == "kube-root-ca.crt"
    mounts = {
        (container["name"], mount["mountPath"])
        for container in spec["containers"] + spec["initContainers"]
        for mount in container.get("volumeMounts", ())
        if mount["name"] == volume["name"]
    }
    assert mounts == {("gateway", "/var/run/secrets/kubernetes.io/serviceaccount")}
    kernels = rendered.env["GP_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME"]
    assert kernels == "gateway-gateway-provisioners-kernel"
    assert kernels != spec["serviceAccountName"]


def test_existing_accounts_and_roles():
    rendered = render(
        {
            "rbac": {"create": False},
            "gateway": {"serviceAccount": {"create": False, "name": "existing"}},
            "kernelServiceAccount": {"create": False, "name": "kernels"},
        }
    )
    kinds = {kind for kind, _ in names(rendered)}
    assert not kinds & {"Role", "RoleBinding", "ServiceAccount"}
    assert rendered.pod["spec"]["serviceAccountName"] == "existing"
    assert rendered.env["GP_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME"] == "kernels"


def test_role_is_bound_to_an_existing_service_account():
    rendered = render({"gateway": {"serviceAccount": {"create": False, "name": "existing"}}})
    assert rendered.one("RoleBinding")["subjects"][0]["name"] == "existing"


def test_pod_meets_pod_security_restricted():
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    rendered = render()
    spec = rendered.pod["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 100,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert rendered.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"hostNetwork", "hostPID", "hostIPC", "initContainers"}.isdisjoint(spec)
    kinds = {kind for volume in spec["volumes"] for kind in volume.keys() - {"name"}}
    assert kinds == {"configMap", "emptyDir", "projected"}
    assert all("hostPort" not in port for port in rendered.container["ports"])


def test_writable_paths_are_mounted():
    rendered = render()
    mounts = rendered.container["volumeMounts"]
    mounted = {item["mountPath"] for item in mounts if not item.get("readOnly")}
    assert mounted == {"/tmp", rendered.env["JUPYTER_RUNTIME_DIR"]}


def test_gateways_environment():
    assert render().env == {
        "KG_IP": "*",
        "KG_PORT": "8888",
        "KG_PORT_RETRIES": "0",
        "GP_AUTH_HEADER": "Authorization",
        "KG_AUTH_TOKEN": {
            "secretKeyRef": {"name": "gateway-gateway-provisioners-token", "key": "token"}
        },
        "KG_LIST_KERNELS": "True",
        "GP_AUTH_METHODS": "",
        "GP_STRICT_USERNAME": "False",
        "GP_SHARING": "True",
        "GP_USER_GROUPS_FILE": "/run/user-groups/groups.json",
        "GP_MAX_STARTS_PER_USER": "10",
        "GP_QUOTAS": "",
        "GP_CONTACT": "",
        "GP_AUDIT": "stdout",
        "KG_BASE_URL": "/",
        "KG_HEALTH_PORT": "8889",
        "GP_ALLOW_KERNELS": "False",
        "GP_TRUSTED_PROXIES": "",
        "GP_CLIENT_BUFFER_BYTES": "1048576",
        "GP_BUFFER_BYTES": "100663296",
        "GP_MAX_MESSAGE_FROM_KERNEL_BYTES": "33554432",
        "GP_MAX_MESSAGE_TO_KERNEL_BYTES": "33554432",
        "GP_OUTPUT_BYTES_PER_SECOND": "0",
        "GP_OUTPUT_MESSAGES_PER_SECOND": "0",
        "KG_DEFAULT_KERNEL_NAME": "python3",
        "GP_MAX_KERNELS": "0",
        "GP_MAX_KERNELS_PER_USER": "0",
        "GP_SHUTDOWN_KERNELS_ON_EXIT": "False",
        "GP_LEASE": "gateway-gateway-provisioners-leader",
        "GP_GATEWAY_POD": {"fieldRef": {"fieldPath": "metadata.name"}},
        "GP_GATEWAY_SERVICE_ACCOUNT": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}},
        "GP_GATEWAY_SELECTOR": "app.kubernetes.io/component=gateway,"
        "app.kubernetes.io/instance=gateway,app.kubernetes.io/name=gateway-provisioners",
        "GP_INSTANCE": "gateway-gateway-provisioners",
        "GP_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "GP_RESPONSE_IP": {"fieldRef": {"fieldPath": "status.podIP"}},
        "GP_RESPONSE_PORT": "8877",
        "GP_OWNER_DEPLOYMENT": "gateway-gateway-provisioners",
        "GP_KERNELSPECS_CONFIGMAP": "gateway-gateway-provisioners-kernelspecs",
        "GP_LOGOS_DIR": "/run/logos",
        "GP_LAUNCH_SCRIPTS": "False",
        "GP_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME": "gateway-gateway-provisioners-kernel",
        "GP_LAUNCH_TIMEOUT": "30",
        "GP_UNSCHEDULABLE_GRACE": "0",
        "GP_WAIT_TIMEOUT": "0",
        "GP_CULL_IDLE_TIMEOUT": "3600",
        "GP_CULL_INTERVAL": "60",
        "GP_CULL_CONNECTED": "False",
        "GP_AUTHORIZED_USERS": "",
        "GP_UNAUTHORIZED_USERS": "root",
        "GP_CLIENT_ENVS": "",
        "GP_ALLOWED_ORIGINS": "",
        "GP_MAX_CPUS": "",
        "GP_MAX_MEMORY": "",
        "GP_MAX_GPUS": "",
        "GP_CLIENT_IDS": "False",
        "GP_PROHIBITED_UIDS": "0",
        "GP_PROHIBITED_GIDS": "0",
        "GP_CLIENT_SERVICE_ACCOUNTS": "",
        "GP_CLIENT_CLAIMS": "",
        "GP_MIRROR_WORKING_DIRS": "False",
        "GP_CLIENT_SPARK_OPTIONS": "False",
        "GP_LOG_LEVEL": "INFO",
        "JUPYTER_RUNTIME_DIR": "/run/jupyter",
    }


def test_service_selects_only_gateway_pods():
    rendered = render()
    service = rendered.one("Service")["spec"]
    assert service["ports"] == [
        {"name": "http", "port": 8888, "targetPort": "http", "protocol": "TCP"}
    ]
    assert service["selector"].items() <= rendered.pod["metadata"]["labels"].items()
    assert service["selector"] == rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
    # The provisioner's name for kernel pods, which the Service must never select.
    assert service["selector"]["app.kubernetes.io/name"] != "gateway-provisioners-kernel"


def test_pod_labels_cannot_override_the_selector():
    hostile = {"app.kubernetes.io/name": "other", "team": "data"}
    rendered = render({"gateway": {"podLabels": hostile}})
    labels = rendered.pod["metadata"]["labels"]
    assert labels["team"] == "data"
    assert labels["app.kubernetes.io/name"] == "gateway-provisioners"


def test_rollout_starts_a_new_gateway_before_stopping_an_old_one():
    deployment = render({"gateway": {"replicas": 3}}).one("Deployment")["spec"]
    assert deployment["replicas"] == 3
    rolling = {"maxSurge": 1, "maxUnavailable": 0}
    assert deployment["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}


def test_gateways_find_each_other_and_their_lease():
    rendered = render(release="r")
    selector = dict(pair.split("=") for pair in rendered.env["GP_GATEWAY_SELECTOR"].split(","))
    assert selector == rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
    [lease] = [
        rule
        for rule in rendered.one("Role")["rules"]
        if rule["resources"] == ["leases"] and "resourceNames" in rule
    ]
    assert lease["resourceNames"] == [rendered.env["GP_LEASE"]]


@pytest.mark.parametrize(
    "kernels",
    [
        {"custom": {"image": "acme/data-sci-py:2.0"}},
        {"python3": {"image": "acme/other:1"}},
        {"python3": {"env": {"A": "b"}, "resources": {"limits": {"cpu": 1}}}},
        {"zz": {"image": "a/b"}, "aa": {"image": "a/b"}},
    ],
)
def test_changing_kernels_does_not_restart_the_gateway(kernels):
    before, after = render(), render({"kernels": kernels})
    assert before.kernelspecs != after.kernelspecs
    assert before.one("Deployment") == after.one("Deployment")
    assert names(before) == names(after)


def test_changing_kernel_defaults_does_not_restart_the_gateway():
    changed = {"launchTimeout": 99, "resources": {"limits": {"memory": "1Gi"}}}
    assert render({"kernelDefaults": changed}).pod == render().pod


def test_token_is_random_and_long():
    """Each rendering is like a first installation, so they differ."""
    tokens = {
        base64.b64decode(render(release=f"r{i}").one("Secret")["data"]["token"]) for i in range(3)
    }
    assert len(tokens) == 3
    assert all(re.fullmatch(rb"[A-Za-z0-9]{48}", token) for token in tokens)


def test_custom_token_is_used_and_changing_it_restarts_the_gateway():
    first = render({"gateway": {"auth": {"token": TOKEN}}})
    second = render({"gateway": {"auth": {"token": TOKEN + "2"}}})
    assert base64.b64decode(first.one("Secret")["data"]["token"]).decode() == TOKEN
    assert first.pod != second.pod
    assert TOKEN not in str(first.one("Deployment"))


def test_generated_token_adds_no_checksum_to_the_pod():
    # A checksum would change between the first installation and the first upgrade.
    assert "annotations" not in render().pod["metadata"]


def test_existing_secret_is_used_instead_of_a_new_one():
    auth = {"existingSecret": "corporate", "existingSecretKey": "jupyter.token"}
    rendered = render({"gateway": {"auth": auth}})
    assert not list(rendered.all("Secret"))
    assert rendered.env["KG_AUTH_TOKEN"] == {
        "secretKeyRef": {"name": "corporate", "key": "jupyter.token"}
    }


@pytest.mark.parametrize("release", ["a", "1", "2fast", "12e4", "true", "x" * 53, "9" * 53])
def test_names_are_valid_for_any_release(release):
    rendered = render(release=release)
    label = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
    for item in rendered.objects:
        name = item["metadata"]["name"]
        assert isinstance(name, str)
        assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name)
        assert len(name) <= 253
        for value in item["metadata"]["labels"].values():
            assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value)
    assert label.fullmatch(rendered.one("Service")["metadata"]["name"])
    assert label.fullmatch(rendered.env["GP_INSTANCE"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "b"),
        ("x" * 52 + "a", "x" * 52 + "b"),
        ("gateway-provisioners", "gateway-provisioners-kernel"),
        ("gateway-provisioners", "gateway-provisioners-gateway"),
        ("gateway-provisioners", "gateway-provisioners-token"),
    ],
)
def test_two_releases_fit_into_one_namespace(one, other):
    first, second = render(release=one), render(release=other)
    assert names(first).isdisjoint(names(second))
    assert first.one("Service")["spec"]["selector"] != second.one("Service")["spec"]["selector"]
    assert first.env["GP_INSTANCE"] != second.env["GP_INSTANCE"]


def test_names_can_be_overridden():
    assert ("Service", "short") in names(render({"fullnameOverride": "short"}))
    assert ("Service", "gateway-gp") in names(render({"nameOverride": "gp"}))


@pytest.mark.parametrize("namespace", ["1234", "true", "notebooks"])
def test_objects_carry_the_common_labels(namespace):
    for item in render(namespace=namespace).objects:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "gateway"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/version"] == __version__
        assert labels["app.kubernetes.io/component"] in {"gateway", "kernels", "test"}


def test_the_service_has_the_clusters_address_families_by_default():
    assert not {"ipFamilyPolicy", "ipFamilies"} & render().one("Service")["spec"].keys()
    families = {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]}
    spec = render({"gateway": {"service": families}}).one("Service")["spec"]
    assert families.items() <= spec.items()


def test_helm_test_uses_an_authorized_user_and_the_service():
    values = {"gateway": {"authorizedUsers": ["alice"], "service": {"port": 80}}}
    [container] = render(values).one("Pod")["spec"]["containers"]
    env = {item["name"]: item.get("value") for item in container["env"]}
    assert env["KERNEL_USERNAME"] == "alice"
    assert env["JUPYTER_GATEWAY_URL"] == "http://gateway-gateway-provisioners:80"
    assert container["image"] == render().container["image"]
    values["userGroups"] = {"analysts": ["bob"]}
    values["kernels"] = {"python3": {"authorizedGroups": ["analysts"]}}
    assert {"name": "KERNEL_USERNAME", "value": "bob"} in (
        render(values).one("Pod")["spec"]["containers"][0]["env"]
    )


def test_helm_test_pod_is_not_selected_but_may_connect():
    policy = {"networkPolicy": {"gateway": {"from": [{"podSelector": {}}]}}}
    rendered = render(policy)
    labels = rendered.one("Pod")["metadata"]["labels"]
    assert not rendered.one("Service")["spec"]["selector"].items() <= labels.items()
    [gateway] = [
        item
        for item in rendered.all("NetworkPolicy")
        if item["metadata"]["name"][-8:] == "-gateway"
    ]
    additional, own = gateway["spec"]["ingress"][0]["from"]
    assert additional == {"podSelector": {}}
    assert own["podSelector"]["matchLabels"].items() <= labels.items()


def test_image_of_the_gateway():
    assert render().container["image"] == f"elyra/gateway:{__version__}"
    image = {"repository": "registry.example.com/g", "tag": "2.0"}
    assert render({"gateway": {"image": image}}).container["image"] == "registry.example.com/g:2.0"
    image["digest"] = "sha256:" + "0" * 64
    pinned = render({"gateway": {"image": image}}).container["image"]
    assert pinned == "registry.example.com/g@sha256:" + "0" * 64


def test_extra_env_reaches_the_container():
    extra = {"B": "1", "A": {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}}
    env = render({"gateway": {"extraEnv": extra}}).env
    assert env["B"] == "1"
    assert env["A"] == {"secretKeyRef": {"name": "s", "key": "k"}}


def test_extra_env_cannot_override_variables_of_the_chart():
    for name in sorted(render().env):
        message = refusal({"gateway": {"extraEnv": {name: "x"}}})
        assert f"gateway.extraEnv.{name}: the chart sets this variable; " in message


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("KG_BASE_URL", "use gateway.baseUrl"),
        ("KG_PORT", "use gateway.service.port"),
        ("KG_IP", "remove it"),
        ("GP_LAUNCH_TIMEOUT", "use gateway.launchTimeout"),
    ],
)
def test_extra_env_that_a_value_is_for_is_refused_with_that_value(name, advice):
    assert f"sets this variable; {advice}" in refusal({"gateway": {"extraEnv": {name: "x"}}})


# They follow from names of objects and namespaces, or are fixed paths.
NAMES_OF_OBJECTS = {
    *("GP_GATEWAY_NAMESPACE", "GP_KERNELSPECS_CONFIGMAP", "GP_LEASE", "GP_OWNER_CONFIGMAP"),
    *("GP_OWNER_DEPLOYMENT", "JUPYTER_CONFIG_DIR"),
}


def env_sources():
    """Return the values from which the chart sets variables of the gateway, by the variables' names."""
    template = (CHART / "templates" / "_validation.tpl").read_text()
    return yaml.safe_load(template.partition('envSources" -}}\n')[2].partition("{{-")[0])


def test_every_variable_that_values_change_is_refused_with_its_value():
    everything = yaml.safe_load((CHART / "ci/everything-values.yaml").read_text())
    plain, changed = render().env, render(everything).env
    names = {name for name in {*plain, *changed} if plain.get(name) != changed.get(name)}
    names -= everything["gateway"]["extraEnv"].keys() | NAMES_OF_OBJECTS
    assert len(names) > 20
    assert names <= env_sources().keys()


def test_values_that_are_named_in_place_of_variables_exist():
    for source in env_sources().values():
        value = chart_values()
        for key in source.partition(",")[0].split("."):
            assert key in value, source
            value = value[key]


def test_large_numbers_are_not_in_scientific_notation():
    """Helm reads numbers as floats, and prints them as 1e+06 from a million on."""
    values = {"gateway": {"terminationGracePeriodSeconds": 1_000_000, "launchTimeout": 2_000_000}}
    values["gateway"]["podSecurityContext"] = {"runAsUser": 1_000_680_000}
    rendered = render(values)
    assert rendered.pod["spec"]["terminationGracePeriodSeconds"] == 1_000_000
    assert rendered.pod["spec"]["securityContext"]["runAsUser"] == 1_000_680_000
    assert rendered.env["GP_LAUNCH_TIMEOUT"] == "2000000"
    spec = rendered.kernelspecs["python3"]["metadata"]["kernel_provisioner"]["config"]
    assert spec["launch_timeout"] == 2_000_000


def test_null_removes_a_default():
    """OpenShift chooses user ids itself."""
    rendered = render(settings=("gateway.podSecurityContext.runAsUser=null",))
    assert "runAsUser" not in rendered.pod["spec"]["securityContext"]
    assert chart_values()["gateway"]["podSecurityContext"]["runAsUser"] == 1000
