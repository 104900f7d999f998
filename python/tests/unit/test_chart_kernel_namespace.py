"""Kernels in a namespace of their own: what goes there, and what the gateway may do in which."""

import pytest
from chart_rendering import render

APART = {
    "kernelNamespace": "kernels",
    "resourceQuota": {"pods": 5},
    "limitRange": [{"type": "Pod", "max": {"memory": "1Gi"}}],
}
OF_KERNELS = {
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


def test_what_belongs_to_kernels_goes_there_and_the_rest_does_not():
    rendered = render(APART)
    there = in_namespace(rendered, "kernels")
    here = in_namespace(rendered, "notebooks")
    assert there.keys() == OF_KERNELS
    assert here.keys() & there.keys() == {
        ("Role", "gateway-gateway-provisioners-gateway"),
        ("RoleBinding", "gateway-gateway-provisioners-gateway"),
    }
    assert len(there) + len(here) == len(rendered.objects)


def test_the_gateway_is_told_both_namespaces_and_who_owns_kernels():
    rendered = render(APART)
    own = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    assert rendered.env["GP_NAMESPACE"] == "kernels"
    assert rendered.env["GP_GATEWAY_NAMESPACE"] == own
    # Kubernetes collects at once what has an owner in another namespace.
    assert "GP_OWNER_DEPLOYMENT" not in rendered.env
    owner = ("ConfigMap", rendered.env["GP_OWNER_CONFIGMAP"])
    assert owner in in_namespace(rendered, "kernels")


def test_the_gateway_may_do_there_what_it_otherwise_may_do_here():
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


def test_in_its_own_namespace_the_gateway_may_only_know_its_pods():
    rules = in_namespace(render(APART), "notebooks")[
        "Role", "gateway-gateway-provisioners-gateway"
    ]["rules"]
    assert rules == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "patch"]}
    ]


def test_both_roles_are_bound_to_the_gateways_account():
    for binding in render(APART).all("RoleBinding"):
        [subject] = binding["subjects"]
        assert subject["name"] == "gateway-gateway-provisioners-gateway"
        assert subject["namespace"] == "notebooks"


def test_policies_look_across_the_border():
    found = {
        item["metadata"]["labels"]["app.kubernetes.io/component"]: item["spec"]
        for item in render(APART).all("NetworkPolicy")
    }

    def namespaces(rule, direction):
        return [peer["namespaceSelector"]["matchLabels"] for peer in rule[direction]]

    there, here = ({"kubernetes.io/metadata.name": name} for name in ("kernels", "notebooks"))
    assert namespaces(found["gateway"]["ingress"][1], "from") == [there]
    assert namespaces(found["kernels"]["ingress"][0], "from") == [here]
    assert namespaces(found["kernels"]["egress"][0], "to") == [here]


@pytest.mark.parametrize("name", ["", "notebooks"])
def test_the_releases_own_namespace_is_nothing_special(name):
    assert [item["kind"] for item in render({"kernelNamespace": name}).objects] == [
        item["kind"] for item in render().objects
    ]
    assert render({"kernelNamespace": name}).env == render().env


def test_accounts_may_have_one_name_in_two_namespaces():
    account = {"create": False, "name": "jupyter"}
    values = {"kernelServiceAccount": account, "gateway": {"serviceAccount": account}}
    assert render({**APART, **values}).pod["spec"]["serviceAccountName"] == "jupyter"


def test_quota_and_limits_are_the_operators_to_set():
    rendered = render(APART)
    assert rendered.one("ResourceQuota")["spec"] == {"hard": {"pods": 5}}
    assert rendered.one("LimitRange")["spec"] == {"limits": APART["limitRange"]}
    assert not list(render().all("ResourceQuota"))
    assert not list(render().all("LimitRange"))
