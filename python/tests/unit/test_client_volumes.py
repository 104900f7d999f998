"""Volumes of clients: only claims that the administrator lists, in any notation."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.errors import InvalidRequest, PolicyViolation
from gateway_provisioners.model.names import user_label
from gateway_provisioners.model.request.client_policy import ClientPolicy
from gateway_provisioners.model.request.launch_request import parse_launch_request

POLICY = ClientPolicy(client_claims=("datasets", "home-{username}"))


def claim(name, volume="v", **more):
    return {"name": volume, "persistentVolumeClaim": {"claimName": name, **more}}


def mount(path="/data", volume="v", **more):
    return {"name": volume, "mountPath": path, **more}


def parse(volumes, mounts=(), *, user="alice", policy=POLICY):
    environment = {
        "KERNEL_USERNAME": user,
        "KERNEL_VOLUMES": volumes if isinstance(volumes, str) else json.dumps(volumes),
        "KERNEL_VOLUME_MOUNTS": mounts if isinstance(mounts, str) else json.dumps(mounts),
    }
    request = parse_launch_request(environment, admin_settings={}, policy=policy)
    assert request.environment == {}
    return list(request.volumes), list(request.volume_mounts)


def test_listed_claims_are_mounted_under_new_names():
    volumes, mounts = parse(
        [claim("datasets", "a", readOnly=True), claim("home-alice", "b")],
        [mount("/data", "a"), mount("/home/alice", "b", subPath="work", readOnly=True)],
    )
    assert volumes == [
        {
            "name": "client-1",
            "persistentVolumeClaim": {"claimName": "datasets", "readOnly": True},
        },
        {
            "name": "client-2",
            "persistentVolumeClaim": {"claimName": "home-alice", "readOnly": False},
        },
    ]
    assert mounts == [
        {"name": "client-1", "mountPath": "/data", "readOnly": False},
        {"name": "client-2", "mountPath": "/home/alice", "subPath": "work", "readOnly": True},
    ]


def test_a_home_belongs_to_one_user():
    with pytest.raises(
        PolicyViolation, match=r"'home-bob'; .*'datasets', 'home-alice' \(client_cl"
    ):
        parse([claim("home-bob")])
    parse([claim(f"home-{user_label('Alice')}")], user="Alice")
    with pytest.raises(PolicyViolation):
        parse([claim(f"home-{user_label('Alice')}")], user=user_label("Alice"))
    with pytest.raises(PolicyViolation):
        parse([claim("home-{username}")], user="{username}")


def test_nothing_can_be_mounted_without_a_list():
    assert parse("", "", policy=ClientPolicy()) == ([], [])
    with pytest.raises(PolicyViolation, match="may mount: none"):
        parse([claim("datasets")], policy=ClientPolicy())


@pytest.mark.parametrize(
    ("volumes", "mounts"),
    [
        ([{"name": "v", "hostPath": {"path": "/"}}], []),
        ([{**claim("datasets"), "hostPath": {"path": "/"}}], []),
        ([{"name": "v", "secret": {"secretName": "s3cret-name"}}], []),
        ([{"name": "v", "persistentVolumeClaim": None}], []),
        ([claim(["datasets"])], []),
        ([claim("datasets\n")], []),
        ([claim("datasets")], [mount(mountPropagation="Bidirectional")]),
        ([claim("datasets")], [mount(subPathExpr="$(X)")]),
    ],
)
def test_volumes_that_are_not_listed_claims_are_refused(volumes, mounts):
    with pytest.raises(PolicyViolation) as refusal:
        parse(volumes, mounts)
    assert "s3cret-name" not in str(refusal.value)


@pytest.mark.parametrize(
    ("volumes", "mounts"),
    [
        ("[", []),
        ("[" * 100_000, []),
        ("{}", []),
        ("[1]", []),
        ("- name: v", []),
        ([claim("datasets"), claim("datasets")], []),
        ([claim("datasets", 7)], []),
        ([claim("datasets", readOnly="no")], []),
        ([], [mount()]),
        ([claim("datasets")], [mount(volume=["v"])]),
        ([claim("datasets")], [mount("data")]),
        ([claim("datasets")], [mount("/a:/b")]),
        ([claim("datasets")], [mount(None)]),
        ([claim("datasets")], [mount("/a\n")]),
        ([claim("datasets")], [mount("/\ud800")]),
        ([claim("datasets")], [mount(subPath="/etc")]),
        ([claim("datasets")], [mount(subPath="a/../../b")]),
        ([claim("datasets")], [mount(readOnly=1)]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_malformed_volumes_are_refused(volumes, mounts):
    with pytest.raises(InvalidRequest, match="KERNEL_VOLUME"):
        parse(volumes, mounts)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "persistentVolumeClaim", "claimName", "readOnly", "mountPath", "hostPath"]
            ),
            inner | st.sampled_from(["v", "datasets", "/data"]),
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=2), st.lists(JSON, max_size=2))
def test_any_json_is_a_listed_claim_or_refused(volumes, mounts):
    try:
        made, mounted = parse(volumes, mounts)
    except (InvalidRequest, PolicyViolation):
        return
    assert all(
        set(volume) == {"name", "persistentVolumeClaim"}
        and volume["persistentVolumeClaim"]["claimName"] == "datasets"
        for volume in made
    )
    assert {each["name"] for each in mounted} <= {volume["name"] for volume in made}
