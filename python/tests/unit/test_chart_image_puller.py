"""The image puller: images, nodes, the pods' rights, and the hook that waits for them."""

import pytest
from chart_rendering import render

CONTINUOUS = {"imagePuller": {"continuous": {"enabled": True}}}
HOOK = {"imagePuller": {"hook": {"enabled": True}}}
BOTH = {"imagePuller": {"continuous": {"enabled": True}, "hook": {"enabled": True}}}
GPU = {"nodeSelector": {"pool": "gpu"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}


def pullers(rendered):
    """Return the specs of the pods."""
    return [each["spec"]["template"]["spec"] for each in rendered.all("DaemonSet")]


def pulled(spec):
    return {each["image"]: each["imagePullPolicy"] for each in spec["initContainers"]}


def hooks(rendered):
    """Return all hooks except `helm test`."""
    return [
        item
        for item in rendered.objects
        if item["metadata"].get("annotations", {}).get("helm.sh/hook", "test") != "test"
    ]


def test_nothing_is_pulled_by_default():
    rendered = render()
    assert not list(rendered.all("DaemonSet"))
    assert not hooks(rendered)


def test_each_kernel_image_is_pulled_once():
    kernels = {
        "one": {"image": "acme/a:1"},
        "two": {"image": "acme/a:1", "pullPolicy": "Always"},
        "baked-in": {"image": "acme/b:1", "pullPolicy": "Never"},
        "off": {"image": "acme/c:1", "enabled": False},
        "python3": {"enabled": False},
    }
    values = {**CONTINUOUS, "kernels": kernels, "gateway": {"defaultKernel": "one"}}
    [spec] = pullers(render(values))
    assert pulled(spec) == {"acme/a:1": "Always"}
    # The idle container reuses a pulled image.
    assert spec["containers"][0]["image"] == "acme/a:1"


def test_images_are_pulled_on_the_nodes_of_their_kernels():
    kernels = {"gpu": {"image": "acme/gpu:1", **GPU}, "big": {"image": "acme/big:1", **GPU}}
    rendered = render({**CONTINUOUS, "kernels": kernels})
    by_pool = {spec.get("nodeSelector", {}).get("pool"): spec for spec in pullers(rendered)}
    assert by_pool.keys() == {None, "gpu"}
    assert pulled(by_pool["gpu"]).keys() == {"acme/gpu:1", "acme/big:1"}
    assert by_pool["gpu"]["tolerations"] == GPU["tolerations"]
    assert "tolerations" not in by_pool[None]
    [one, other] = rendered.all("DaemonSet")
    assert one["metadata"]["name"] != other["metadata"]["name"]
    assert one["spec"]["selector"] != other["spec"]["selector"]
    for each in (one, other):
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_pullers_use_the_registry_and_secrets_of_kernels():
    values = {
        **CONTINUOUS,
        "global": {"imageRegistry": "mirror.example.com", "imagePullSecrets": ["mirror"]},
        "kernels": {"custom": {"image": "acme/a:1", "pullSecrets": ["own"]}},
    }
    [spec] = pullers(render(values))
    assert "mirror.example.com/acme/a:1" in pulled(spec)
    assert spec["imagePullSecrets"] == [{"name": "mirror"}, {"name": "own"}]


def test_pullers_run_in_the_kernels_namespace():
    """The pull secrets are there."""
    rendered = render({**BOTH, "kernelNamespace": "kernels"})
    assert {each["metadata"]["namespace"] for each in rendered.all("DaemonSet")} == {"kernels"}
    job = rendered.one("Job")
    assert "namespace" not in job["metadata"]
    assert "--namespace=kernels" in job["spec"]["template"]["spec"]["containers"][0]["args"]
    [role] = [each for each in hooks(rendered) if each["kind"] == "Role"]
    assert role["metadata"]["namespace"] == "kernels"


@pytest.mark.parametrize("values", [CONTINUOUS, HOOK], ids=["continuous", "hook"])
def test_pods_meet_pod_security_restricted_without_node_access(values):
    rendered = render(values)
    for spec in [*pullers(rendered), *(j["spec"]["template"]["spec"] for j in rendered.all("Job"))]:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert "volumes" not in spec
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(spec)
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"]
    for spec in pullers(rendered):
        assert spec["automountServiceAccountToken"] is False


def test_continuous_and_hook_pullers_pull_the_same():
    rendered = render(BOTH)
    hook, continuous = sorted(rendered.all("DaemonSet"), key=lambda each: each["metadata"]["name"])
    assert pullers(rendered)[0] == pullers(rendered)[1]
    assert continuous["spec"]["selector"] != hook["spec"]["selector"]
    assert "annotations" not in continuous["metadata"]
    assert "helm.sh/hook" in hook["metadata"]["annotations"]


def test_hook_pulls_then_waits_and_cleans_up():
    rendered = render(HOOK)
    order = sorted(
        (int(each["metadata"]["annotations"]["helm.sh/hook-weight"]), each["kind"])
        for each in hooks(rendered)
    )
    assert [kind for _, kind in order] == [
        *("DaemonSet", "Role", "RoleBinding", "ServiceAccount", "Job")
    ]
    for each in hooks(rendered):
        annotations = each["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_hook_job_waits_for_every_daemonset_with_its_own_account():
    values = {**HOOK, "kernels": {"gpu": {"image": "acme/gpu:1", **GPU}}}
    values["imagePuller"]["hook"]["timeout"] = 1_000_000
    rendered = render(values)
    spec = rendered.one("Job")["spec"]["template"]["spec"]
    args = spec["containers"][0]["args"]
    names = [each["metadata"]["name"] for each in rendered.all("DaemonSet")]
    assert len(names) == 2
    assert args[:3] == ["python", "-m", "gateway_provisioners.cli.await_images"]
    assert args[3:] == ["--namespace=notebooks", "--timeout=1000000", *sorted(names)]
    # The release's own account does not exist yet during an installation.
    account, role, binding = (
        next(each for each in hooks(rendered) if each["kind"] == kind)
        for kind in ("ServiceAccount", "Role", "RoleBinding")
    )
    assert spec["serviceAccountName"] == account["metadata"]["name"]
    assert binding["subjects"][0]["name"] == account["metadata"]["name"]
    assert role["rules"] == [
        {"apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]
    assert rendered.one("Job")["spec"]["backoffLimit"] == 0


def test_without_kernels_nothing_is_pulled():
    rendered = render({**BOTH, "kernels": {"python3": {"enabled": False}}})
    assert not list(rendered.all("DaemonSet"))
    args = rendered.one("Job")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[-1].startswith("--timeout=")
