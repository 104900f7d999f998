"""Options of kernels in the chart: devices, volumes, lifetimes, users, profiles, client policy."""

import re

import pytest
import yaml
from chart_rendering import HELMS, REPOSITORY, refusal, render

from gateway_provisioners.model.request.client_policy import ClientPolicy

CUSTOM = {"image": "acme/data-sci-py:2.0"}
PAGE = (REPOSITORY / "docs" / "kernels.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
HOME = {"name": "home", "persistentVolumeClaim": {"claimName": "home-{username}"}}
HOME_MOUNT = {"name": "home", "mountPath": "/home/jovyan/work"}


def spec(values, name="custom", **others):
    return render({"kernels": {"custom": {**CUSTOM, **values}}, **others}).kernelspecs[name]


def config(values, name="custom", **others):
    return spec(values, name, **others)["metadata"]["kernel_provisioner"]["config"]


@pytest.mark.parametrize(
    ("value", "setting", "content"),
    [
        ("envFrom", "env_from", [{"secretRef": {"name": "warehouse"}}]),
        ("volumes", "volumes", [HOME]),
        ("affinity", "affinity", {"nodeAffinity": {}}),
        ("runtimeClassName", "runtime_class_name", "gvisor"),
        ("priorityClassName", "priority_class_name", "low"),
        ("serviceAccountName", "service_account_name", "data"),
        ("evictable", "evictable", True),
        ("gpuResource", "gpu_resource", "amd.com/gpu"),
    ],
)
def test_options_reach_the_kernelspec_and_can_be_undone(value, setting, content):
    assert config({value: content})[setting] == content
    assert setting not in config({})
    defaults = {value: content}
    assert config({}, kernelDefaults=defaults)[setting] == content
    undone = {"gpuResource": "nvidia.com/gpu", "affinity": {"nodeAffinity": None}}
    empty = undone.get(value, type(content)())
    assert config({value: empty}, kernelDefaults=defaults).get(setting) in (None, empty)


def test_gpus_are_added_to_the_limits():
    resources = {"requests": {"cpu": 1}, "limits": {"memory": "8Gi"}}
    got = config({"gpus": 2, "gpuResource": "amd.com/gpu", "resources": resources})
    assert got["resources"] == {
        "requests": {"cpu": 1},
        "limits": {"memory": "8Gi", "amd.com/gpu": 2},
    }
    assert "resources" not in config({})
    assert "resources" not in config({"gpus": 0}, kernelDefaults={"gpus": 1})


def test_lifetimes_are_in_the_kernelspec_metadata():
    metadata = spec({"idleTimeout": 600, "maxLifetime": 86400})["metadata"]
    assert (metadata["cull_idle_timeout"], metadata["max_lifetime"]) == (600, 86400)
    metadata = spec({})["metadata"]
    assert set(metadata) == {"debugger", "kernel_provisioner"}
    assert spec({"idleTimeout": 0})["metadata"]["cull_idle_timeout"] == 0
    defaults = {"idleTimeout": 600, "maxLifetime": 60}
    undone = spec({"idleTimeout": -1, "maxLifetime": 0}, kernelDefaults=defaults)["metadata"]
    assert set(undone) == {"debugger", "kernel_provisioner"}


@pytest.mark.parametrize("program", HELMS)
def test_profiles_add_kernels(program):
    values = {
        **CUSTOM,
        "displayName": "Data Science",
        "env": {"A": "1"},
        "resources": {"limits": {"memory": "2Gi"}},
        "profiles": {
            "large": {"resources": {"limits": {"memory": "32Gi"}}, "env": {"B": "2"}},
            "gpu": {"gpus": 1, "displayName": "Data Science with GPU", "image": "acme/gpu:1"},
        },
    }
    specs = render({"kernels": {"custom": values}}, program=program).kernelspecs
    assert set(specs) == {"python3", "custom", "custom-large", "custom-gpu"}
    large, gpu = specs["custom-large"], specs["custom-gpu"]
    assert (large["display_name"], large["env"]) == ("Data Science (large)", {"A": "1", "B": "2"})
    assert gpu["display_name"] == "Data Science with GPU"

    def provisioner(spec):
        return spec["metadata"]["kernel_provisioner"]["config"]

    assert provisioner(large)["image_name"] == CUSTOM["image"]
    assert provisioner(large)["resources"] == {"limits": {"memory": "32Gi"}}
    assert provisioner(gpu)["image_name"] == "acme/gpu:1"
    assert provisioner(gpu)["resources"] == {"limits": {"memory": "2Gi", "nvidia.com/gpu": 1}}
    assert provisioner(specs["custom"])["resources"] == {"limits": {"memory": "2Gi"}}
    profile_of = {name: spec["metadata"].get("profile_of") for name, spec in specs.items()}
    assert profile_of == {
        "python3": None,
        "custom": None,
        "custom-large": "custom",
        "custom-gpu": "custom",
    }


def test_default_profiles_apply_to_all_kernels():
    values = {
        "kernelDefaults": {"profiles": {"small": {"resources": {"limits": {"cpu": 1}}}}},
        "kernels": {"custom": CUSTOM, "plain": {**CUSTOM, "profiles": {"small": None}}},
        "gateway": {"defaultKernel": "custom-small"},
    }
    specs = render(values).kernelspecs
    assert set(specs) == {"python3", "python3-small", "custom", "custom-small", "plain"}
    of_python = specs["python3-small"]["metadata"]["kernel_provisioner"]["config"]
    assert of_python["image_name"].startswith("elyra/kernel-py:")
    values["kernels"]["custom"] = {**CUSTOM, "enabled": False}
    assert "custom-small" in refusal(values)  # the default kernel no longer exists


def test_groups_expand_to_users():
    groups = {"analysts": ["alice", "bob"], "admins": ["bob", "carol"]}
    values = {"authorizedUsers": ["erin"], "authorizedGroups": ["analysts", "admins"]}
    got = config(values, userGroups=groups)
    assert got["authorized_users"] == ["erin", "alice", "bob", "carol"]
    assert got["authorized_groups"] == ["analysts", "admins"]
    assert "authorized_groups" not in config({"authorizedUsers": ["erin"]})
    got = config({**values, "unauthorizedUsers": ["bob"]}, userGroups=groups)
    assert got["unauthorized_users"] == ["bob"]


@pytest.mark.parametrize("groups", [{}, {"analysts": []}])
def test_an_empty_group_does_not_allow_every_user(groups):
    values = {"kernels": {"custom": {**CUSTOM, "authorizedGroups": ["analysts"]}}}
    output = refusal({**values, "userGroups": groups})
    assert "kernels.custom.authorizedGroups: these groups have no members" in output
    missing = (
        'kernels.custom.authorizedGroups: group "analysts" does not exist; add it to userGroups'
    )
    assert (missing in output) == (not groups)


def test_a_group_of_claims_needs_no_members_and_lets_no_other_user_start():
    sso = {"type": "jwt", "issuer": "https://sso.example.com", "audience": "gateway"}
    gateway = {"auth": {"methods": {"sso": sso}}, "authorizedUsers": ["alice"]}
    got = config({"authorizedGroups": ["staff"]}, gateway=gateway)
    assert got["authorized_groups"] == ["staff"]
    # Not the default, which is that of gateway.authorizedUsers.
    assert got["authorized_users"] == []


def gateway_settings(policy, **options):
    env = render({"gateway": {"clientPolicy": policy}}, **options).env
    return {
        name: env[f"GP_{name}"]
        for name in (
            *("MAX_CPUS", "MAX_MEMORY", "MAX_GPUS", "CLIENT_IDS", "PROHIBITED_UIDS"),
            *("PROHIBITED_GIDS", "CLIENT_SERVICE_ACCOUNTS", "CLIENT_CLAIMS"),
            *("MIRROR_WORKING_DIRS", "CLIENT_SPARK_OPTIONS"),
        )
    }


POLICY = {
    "maxCpus": 2.5,
    "maxMemory": 34359738369,
    "maxGpus": 0,
    "chooseIds": True,
    "prohibitedUids": [0, "1-999", 1000660000],
    "prohibitedGids": [],
    "serviceAccounts": ["spark", "ml"],
    "claims": ["datasets", "home-{username}"],
    "workingDir": True,
    "sparkOptions": True,
}


@pytest.mark.parametrize("program", HELMS)
def test_gateway_policy_reaches_the_environment(program):
    assert gateway_settings({}, program=program) == {
        "MAX_CPUS": "",
        "MAX_MEMORY": "",
        "MAX_GPUS": "",
        "CLIENT_IDS": "False",
        "PROHIBITED_UIDS": "0",
        "PROHIBITED_GIDS": "0",
        "CLIENT_SERVICE_ACCOUNTS": "",
        "CLIENT_CLAIMS": "",
        "MIRROR_WORKING_DIRS": "False",
        "CLIENT_SPARK_OPTIONS": "False",
    }
    assert gateway_settings(POLICY, program=program) == {
        "MAX_CPUS": "2.5",
        "MAX_MEMORY": "34359738369",
        "MAX_GPUS": "0",
        "CLIENT_IDS": "True",
        "PROHIBITED_UIDS": "0,1-999,1000660000",
        "PROHIBITED_GIDS": ",",
        "CLIENT_SERVICE_ACCOUNTS": "spark,ml",
        "CLIENT_CLAIMS": "datasets,home-{username}",
        "MIRROR_WORKING_DIRS": "True",
        "CLIENT_SPARK_OPTIONS": "True",
    }


def test_kernel_policy_contains_only_overrides():
    assert set(config({})) == {"image_name", "launch_timeout"}
    got = config({"clientPolicy": {"maxMemory": "", "prohibitedUids": []}})
    assert (got["max_memory"], got["prohibited_uids"]) == ("", [])
    assert "max_cpus" not in got
    got = config({"clientPolicy": POLICY})
    settings = {
        "max_cpus": "2.5",
        "max_memory": "34359738369",
        "max_gpus": "0",
        "client_ids": True,
        "prohibited_uids": ["0", "1-999", "1000660000"],
        "prohibited_gids": [],
        "client_service_accounts": ["spark", "ml"],
        "client_claims": ["datasets", "home-{username}"],
        "mirror_working_dirs": True,
        "client_spark_options": True,
    }
    assert settings.items() <= got.items()
    ClientPolicy(**settings)


def test_changing_kernels_and_groups_does_not_restart_the_gateway():
    before = render()
    after = render(
        {
            "userGroups": {"analysts": ["alice"]},
            "kernelDefaults": {"maxLifetime": 60, "clientPolicy": POLICY, "volumes": [HOME]},
            "kernels": {"custom": {**CUSTOM, "profiles": {"large": {"gpus": 1}}}},
        }
    )
    assert before.one("Deployment") == after.one("Deployment")
    changed = [
        one != other
        for one, other in zip(*(r.all("ConfigMap") for r in (before, after)), strict=True)
    ]
    assert changed == [True, True]


GATEWAY_ACCOUNT = "gateway-gateway-provisioners-gateway"


@pytest.mark.parametrize("program", HELMS)
@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (
            {"volumeMounts": [HOME_MOUNT]},
            'kernels.custom.volumeMounts: volume "home" does not exist; add it to kernels.custom.volumes',
        ),
        (
            {"volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "home-{user}"}}]},
            "kernels.custom.volumes: {user} is not a known placeholder; use {username}",
        ),
        (
            {"volumes": [HOME], "volumeMounts": [{**HOME_MOUNT, "subPath": "{id}/{username}"}]},
            "kernels.custom.volumeMounts: {id} is not a known placeholder; use {username}",
        ),
        (
            {"serviceAccountName": GATEWAY_ACCOUNT},
            "kernels.custom.serviceAccountName: this is the gateway's ServiceAccount",
        ),
        (
            {"podTemplate": {"spec": {"serviceAccountName": GATEWAY_ACCOUNT}}},
            "kernels.custom.podTemplate.spec.serviceAccountName: this is the gateway's ServiceAccount",
        ),
        (
            {"podTemplate": {"spec": {"serviceAccount": GATEWAY_ACCOUNT}}},
            "kernels.custom.podTemplate.spec.serviceAccount: this is the gateway's ServiceAccount",
        ),
        (
            {"clientPolicy": {"serviceAccounts": [GATEWAY_ACCOUNT]}},
            "kernels.custom.clientPolicy.serviceAccounts: this includes the gateway's ServiceAccount",
        ),
        (
            {"clientPolicy": {"prohibitedGids": [5, "999-0"]}},
            "kernels.custom.clientPolicy.prohibitedGids: 999-0 must begin with the lower id; write 0-999",
        ),
        (
            {"clientPolicy": {"claims": ["datasets", "{username}"]}},
            "kernels.custom.clientPolicy.claims: {username} lets users mount any claim that has their name",
        ),
        (
            {"profiles": {"large": {"image": "No Image"}}},
            'kernels.custom.profiles.large.image: "No Image" is not a valid image name',
        ),
    ],
)
def test_invalid_kernels_are_refused(kernel, message, program):
    assert message in refusal({"kernels": {"custom": {**CUSTOM, **kernel}}}, program=program)


def test_clients_cannot_choose_the_gateways_service_account():
    output = refusal({"gateway": {"clientPolicy": {"serviceAccounts": [GATEWAY_ACCOUNT]}}})
    assert (
        "gateway.clientPolicy.serviceAccounts: this includes the gateway's ServiceAccount" in output
    )


def test_reversed_ranges_of_ids_are_refused():
    """They would prohibit nothing."""
    output = refusal({"gateway": {"clientPolicy": {"prohibitedUids": ["999-0"]}}})
    assert (
        "gateway.clientPolicy.prohibitedUids: 999-0 must begin with the lower id; write 0-999"
        in output
    )


def test_claims_that_are_a_users_name_alone_are_refused():
    """A user could be called like the claim of anything else."""
    output = refusal({"gateway": {"clientPolicy": {"claims": ["{username}{username}"]}}})
    assert "gateway.clientPolicy.claims: {username}{username} lets users mount any claim" in output
    assert "write for example home-{username}" in output


def test_kernels_with_the_same_name_are_refused():
    kernels = {
        "custom": {**CUSTOM, "profiles": {"large": {}, "very-large": {}}},
        "custom-large": CUSTOM,
        "custom-very": {**CUSTOM, "profiles": {"large": {}}},
    }
    output = refusal({"kernels": kernels})
    assert (
        "kernels.custom.profiles.large: this kernel and kernels.custom-large would have the same name "
        "custom-large; rename one of them"
    ) in output
    assert (
        "kernels.custom.profiles.very-large: this kernel and kernels.custom-very.profiles.large would "
        "have the same name custom-very-large"
    ) in output


def test_volumes_of_the_pod_template_can_be_mounted():
    volumes = {"spec": {"volumes": [{"name": "scratch", "emptyDir": {}}]}}
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    assert config({"volumeMounts": mounts, "podTemplate": volumes})["volume_mounts"] == mounts
    for odd in ({"spec": None}, {"spec": {"volumes": None}}):
        assert 'volume "scratch" does not exist' in refusal(
            {"kernels": {"custom": {**CUSTOM, "volumeMounts": mounts, "podTemplate": odd}}}
        )


REFUSED_BY_SCHEMA = [
    ({"gpus": -1}, "at '/kernels/a/gpus'"),
    ({"gpus": "1"}, "got string, want integer"),
    ({"gpuResource": "gpu"}, "at '/kernels/a/gpuResource'"),
    ({"envFrom": {"secretRef": {}}}, "got object, want array"),
    ({"volumes": [{"emptyDir": {}}]}, "missing property 'name'"),
    ({"volumeMounts": [{"mountPath": "/x"}]}, "missing property 'name'"),
    ({"runtimeClassName": "G Visor"}, "at '/kernels/a/runtimeClassName'"),
    ({"idleTimeout": -2}, "at '/kernels/a/idleTimeout'"),
    ({"maxLifetime": "1d"}, "at '/kernels/a/maxLifetime'"),
    ({"profiles": {"Large": {}}}, "invalid propertyName 'Large'"),
    ({"profiles": {"large": {"profiles": {}}}}, "at '/kernels/a/profiles/large/profiles'"),
    ({"profiles": {"large": {"gpu": 1}}}, "additional properties 'gpu' not allowed"),
    ({"clientPolicy": {"maxMemory": "4GB"}}, "at '/kernels/a/clientPolicy/maxMemory'"),
    ({"clientPolicy": {"maxCpus": -1}}, "at '/kernels/a/clientPolicy/maxCpus'"),
    (
        {"clientPolicy": {"prohibitedUids": ["0x0"]}},
        "at '/kernels/a/clientPolicy/prohibitedUids/0'",
    ),
    ({"clientPolicy": {"prohibitedUids": [-1]}}, "at '/kernels/a/clientPolicy/prohibitedUids/0'"),
    ({"clientPolicy": {"claims": ["home-{user}"]}}, "at '/kernels/a/clientPolicy/claims/0'"),
    ({"clientPolicy": {"namespaces": []}}, "additional properties 'namespaces' not allowed"),
    ({"authorizedGroups": ["a,b"]}, "at '/kernels/a/authorizedGroups/0'"),
]


@pytest.mark.parametrize("program", HELMS)
@pytest.mark.parametrize(("kernel", "message"), REFUSED_BY_SCHEMA, ids=lambda v: str(v)[:50])
def test_schema_refuses(kernel, message, program):
    output = refusal({"kernels": {"a": {**CUSTOM, **kernel}}}, program=program)
    assert "values don't meet the specifications of the schema" in output
    assert message in output


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_in_the_documentation_render(text):
    values = yaml.safe_load(text)
    kernels = set(values.get("kernels", {}))
    assert kernels <= set(render(values).kernelspecs)


def test_documentation_names_the_kernels_of_profiles():
    (text,) = (text for text in EXAMPLES if "profiles" in text)
    specs = render(yaml.safe_load(text)).kernelspecs
    named = {name: spec["display_name"] for name, spec in specs.items()}
    assert named == {
        "python3": "Python 3",
        "python3-large": "Python 3 (large)",
        "python3-gpu": "Python 3 with a GPU",
    }
    assert all(f"`{name}`" in PAGE for name in {*named, *named.values()})


def test_a_logo_is_one_of_ours_or_an_image_in_a_configmap():
    spark = {"configMap": "logos", "key": "spark.svg"}
    kernels = {
        "plain": CUSTOM,
        "borrowed": {**CUSTOM, "language": "bash", "logo": "r"},
        "own": {
            **CUSTOM,
            "logo": spark,
            "profiles": {
                "large": {},
                "gpu": {"logo": {"configMap": "logos", "key": "gpu.png"}},
                "other": {"logo": {"configMap": "acme.logos", "key": "gpu.png"}},
                "usual": {"logo": ""},
            },
        },
    }
    rendered = render({"kernels": kernels})
    logos = {name: spec["metadata"].get("logo") for name, spec in rendered.kernelspecs.items()}
    assert logos == {
        "python3": None,
        "plain": None,
        "borrowed": "r",
        "own": "logos/spark.svg",
        "own-large": "logos/spark.svg",
        "own-gpu": "logos/gpu.png",
        "own-other": "acme.logos/gpu.png",
        "own-usual": None,
    }
    [volume] = [each for each in rendered.pod["spec"]["volumes"] if each["name"] == "logos"]
    assert volume["projected"]["sources"] == [
        {
            "configMap": {
                "name": "acme.logos",
                "optional": True,
                "items": [{"key": "gpu.png", "path": "acme.logos/gpu.png"}],
            }
        },
        {
            "configMap": {
                "name": "logos",
                "optional": True,
                "items": [
                    {"key": "gpu.png", "path": "logos/gpu.png"},
                    {"key": "spark.svg", "path": "logos/spark.svg"},
                ],
            }
        },
    ]
    [mount] = [each for each in rendered.container["volumeMounts"] if each["name"] == "logos"]
    assert mount == {"name": "logos", "mountPath": rendered.env["GP_LOGOS_DIR"], "readOnly": True}
    assert config({}, kernelDefaults={"logo": "r"}) == config({})
    assert spec({"logo": ""}, kernelDefaults={"logo": "r"}) == spec({})


def test_only_a_logo_of_a_configmap_changes_the_gateways_pod():
    kernels = {"custom": {**CUSTOM, "logo": "scala"}}
    assert render({"kernels": kernels}).pod == render().pod


@pytest.mark.parametrize(
    "logo",
    [
        *("cobol", "../x.svg", 1, {"configMap": "logos"}, {"key": "a.svg"}),
        {"configMap": "../logos", "key": "a.svg"},
        {"configMap": "logos", "key": "a.html"},
        {"configMap": "logos", "key": "../a.svg"},
        {"configMap": "logos", "key": "a.svg", "namespace": "other"},
    ],
)
def test_other_logos_are_refused(logo):
    assert "kernels" in refusal({"kernels": {"custom": {**CUSTOM, "logo": logo}}})
