"""Kernels in a separate namespace: its objects, and the gateway's rights in both namespaces."""

import pytest
from chart_rendering import render

APART = {
    "kernelNamespace": "kernels",
    "resourceQuota": {"pods": 5},
    "limitRange": [{"type": "Pod", "max": {"memory": "1Gi"}}],
}
KERNEL_OBJECTS = {
    ("ServiceAccount", "gateway-gateway-provisioners-kernel"),
    ("ConfigMap", "gateway-gateway-provisioners-kernelspecs"),
    ("ConfigMap", "gateway-gateway-provisioners-kernels"),
    ("NetworkPolicy", "gateway-gateway-provisioners-kernels"),
    ("ResourceQuota", "gateway-gateway-provisioners-kernels"),
    ("LimitRange", "gateway-gateway-provisioners-kernels"),
    ("Role", "gateway-gateway-provisioners-gateway"),
    ("RoleBinding", "gateway-gateway-provisioners-gateway"),
}


def in_namespace(rendered, namespace):
    return {
        (item["kind"], item["metadata"]["name"]): item
        for item in rendered.objects
        if item["metadata"].get("namespace", "notebooks") == namespace
    }


def test_only_kernel_objects_are_in_the_kernels_namespace():
    rendered = render(APART)
    there = in_namespace(rendered, "kernels")
    here = in_namespace(rendered, "notebooks")
    assert there.keys() == KERNEL_OBJECTS
    assert here.keys() & there.keys() == {
        ("Role", "gateway-gateway-provisioners-gateway"),
        ("RoleBinding", "gateway-gateway-provisioners-gateway"),
    }
    assert len(there) + len(here) == len(rendered.objects)


def test_gateway_env_names_both_namespaces_and_the_owner():
    rendered = render(APART)
    own = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    assert rendered.env["GP_NAMESPACE"] == "kernels"
    assert rendered.env["GP_GATEWAY_NAMESPACE"] == own
    # Kubernetes immediately deletes objects whose owner is in another namespace.
    assert "GP_OWNER_DEPLOYMENT" not in rendered.env
    owner = ("ConfigMap", rendered.env["GP_OWNER_CONFIGMAP"])
    assert owner in in_namespace(rendered, "kernels")


def test_gateway_has_the_same_rights_in_the_kernels_namespace():
    role = "Role", "gateway-gateway-provisioners-gateway"
    alone = in_namespace(render(), "notebooks")[role]["rules"]
    there = in_namespace(render(APART), "kernels")[role]["rules"]
    owner = there.pop()
    assert there == alone[:-1]
    assert owner == {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["gateway-gateway-provisioners-kernels"],
        "verbs": ["get"],
    }


def test_gateway_cannot_change_what_pods_of_its_own_namespace_run():
    """With `patch` of pods it could run an image of its choice with another pod's Secrets."""
    rules = in_namespace(render(APART), "notebooks")[
        "Role", "gateway-gateway-provisioners-gateway"
    ]["rules"]
    assert rules == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
    ]


def test_both_roles_are_bound_to_the_gateway_account():
    for binding in render(APART).all("RoleBinding"):
        [subject] = binding["subjects"]
        assert subject["name"] == "gateway-gateway-provisioners-gateway"
        assert subject["namespace"] == "notebooks"


def test_policies_select_peers_in_the_other_namespace():
    found = {
        item["metadata"]["labels"]["app.kubernetes.io/component"]: item["spec"]
        for item in render(APART).all("NetworkPolicy")
    }

    def namespaces(rule, direction):
        return [peer["namespaceSelector"]["matchLabels"] for peer in rule[direction]]

    there, here = ({"kubernetes.io/metadata.name": name} for name in ("kernels", "notebooks"))
    assert namespaces(found["gateway"]["ingress"][2], "from") == [there]
    assert namespaces(found["kernels"]["ingress"][0], "from") == [here]
    assert namespaces(found["kernels"]["egress"][0], "to") == [here]


@pytest.mark.parametrize("name", ["", "notebooks"])
def test_release_namespace_as_kernel_namespace_changes_nothing(name):
    assert [item["kind"] for item in render({"kernelNamespace": name}).objects] == [
        item["kind"] for item in render().objects
    ]
    assert render({"kernelNamespace": name}).env == render().env


def test_accounts_in_two_namespaces_may_have_the_same_name():
    account = {"create": False, "name": "jupyter"}
    values = {"kernelServiceAccount": account, "gateway": {"serviceAccount": account}}
    assert render({**APART, **values}).pod["spec"]["serviceAccountName"] == "jupyter"


def test_quota_and_limit_range_are_optional():
    rendered = render(APART)
    assert rendered.one("ResourceQuota")["spec"] == {"hard": {"pods": 5}}
    assert rendered.one("LimitRange")["spec"] == {"limits": APART["limitRange"]}
    assert not list(render().all("ResourceQuota"))
    assert not list(render().all("LimitRange"))
