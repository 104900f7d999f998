"""Requests of clients are parsed or refused in a few words, whatever is in them."""

import contextlib
import json
import re
import uuid
from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fuzz.hostile import dumped, json_values, odd_texts, spoiled, spoiled_json
from gateway_provisioners.cli.launch.script_input import (
    literal_environment,
    read_kernelspec,
    read_request,
)
from gateway_provisioners.errors import ConfigurationError, InvalidRequest, PolicyViolation
from gateway_provisioners.gateway.http.crowd import Crowd, client_address, parse_networks
from gateway_provisioners.gateway.http.start_request import UnknownKernel, parse_start_request
from gateway_provisioners.model import names
from gateway_provisioners.model.request import launch_request, quantity
from gateway_provisioners.model.request.client_policy import ClientPolicy
from gateway_provisioners.model.request.client_volumes import parse_client_volumes
from gateway_provisioners.model.request.launcher_variables import NOT_FOR_CLIENTS
from gateway_provisioners.provisioners.launch_traits import DockerLaunchTraits

START = {
    "name": "python3",
    "kernel_id": "3f0e6a44-7b0a-4a55-9f4a-7b9c3b7d2a11",
    "path": "folder/notebook.ipynb",
    "env": {"KERNEL_USERNAME": "alice", "KERNEL_CPUS": "1"},
}
VOLUMES = [{"name": "v", "persistentVolumeClaim": {"claimName": "home-alice", "readOnly": True}}]
MOUNTS = [{"name": "v", "mountPath": "/data", "subPath": "a/b", "readOnly": True}]
VALID = {
    "KERNEL_USERNAME": "alice",
    "KERNEL_CPUS": "1.5",
    "KERNEL_CPUS_LIMIT": "1500m",
    "KERNEL_MEMORY": "1Gi",
    "KERNEL_MEMORY_LIMIT": "1e9",
    "KERNEL_GPUS": "1",
    "KERNEL_GPUS_LIMIT": "1",
    "KERNEL_LAUNCH_TIMEOUT": "60",
    "KERNEL_SPARK_CONTEXT_INIT_MODE": "lazy",
    "KERNEL_WORKING_DIR": "/home/alice",
    "KERNEL_UID": "1000",
    "KERNEL_GID": "100",
    "KERNEL_SERVICE_ACCOUNT_NAME": "allowed",
    "KERNEL_NAMESPACE": "kernels",
    "KERNEL_VOLUMES": json.dumps(VOLUMES),
    "KERNEL_VOLUME_MOUNTS": json.dumps(MOUNTS),
    "KERNEL_MAILBOX_BYTES": "8388608",
    "KERNEL_MAILBOX_DISK_BYTES": "0",
    "KERNEL_TEAM": "blue",
}
ADMINISTRATORS = {"KERNEL_UID": "1000", "KERNEL_NAMESPACE": "kernels"}
POLICY = ClientPolicy(
    max_cpus="2",
    max_memory="2Gi",
    max_gpus="1",
    client_ids=True,
    prohibited_uids=("0-999",),
    prohibited_gids=("0",),
    client_service_accounts=("allowed",),
    client_claims=("home-{username}",),
    mirror_working_dirs=True,
)
MOST_CHARACTERS = 800

values = (
    odd_texts
    | st.sampled_from(list(VALID.values())).flatmap(
        lambda value: spoiled(value.encode()).map(lambda data: data.decode("utf-8", "replace"))
    )
    | st.sampled_from(["\ud800", "1" * 5000, "0.1n", "0.5", "1e-30", "1e99", "9E", "٣", "1_0"])
    | st.text(alphabet="0123456789.eEnumkKMGTPi+-", max_size=8)
    | spoiled_json(VOLUMES).map(lambda data: data.decode("utf-8", "replace"))
    | spoiled_json(MOUNTS).map(lambda data: data.decode("utf-8", "replace"))
)
environments = st.tuples(
    st.dictionaries(st.sampled_from(sorted(VALID)), values, max_size=4)
    | st.dictionaries(st.sampled_from(sorted(VALID)) | odd_texts, values, max_size=3),
    st.sets(st.sampled_from(sorted(VALID))),
).map(lambda drawn: {**{name: VALID[name] for name in VALID if name not in drawn[1]}, **drawn[0]})


def parsed(parse, *errors):
    """Return what was parsed, or None if it was refused in a few words on one line."""
    try:
        return parse()
    except errors as refused:
        words = str(refused)
    assert len(words) < MOST_CHARACTERS
    assert words.isprintable()
    return None


def start_request(body):
    return parse_start_request(
        body,
        known_names=lambda: ["python3", "r"],
        default_name="python3",
        forced_name="",
        client_variables=["TEAM"],
    )


@given(spoiled_json(START, values=json_values | values) | st.just(b""))
def test_start_requests(body):
    errors = InvalidRequest, PolicyViolation, UnknownKernel
    request = parsed(lambda: start_request(body), *errors)
    if request is None:
        return
    assert request.name in ("python3", "r")
    assert request.kernel_id is None or str(uuid.UUID(request.kernel_id)) == request.kernel_id
    for text in (request.path or "", *request.environment, *request.environment.values()):
        text.encode()
    assert all(each.startswith("KERNEL_") or each == "TEAM" for each in request.environment)
    assert not any("\0" in value for value in request.environment.values())


@pytest.mark.attack(17)
@given(environments)
def test_environments_of_clients(environment):
    request = parsed(
        lambda: launch_request.parse_launch_request(
            environment, admin_settings=ADMINISTRATORS, policy=POLICY
        ),
        InvalidRequest,
        PolicyViolation,
    )
    if request is None:
        return
    assert set(request.environment) <= set(environment)
    assert not set(request.environment) & NOT_FOR_CLIENTS
    texts = [request.username, request.working_dir or "", *request.environment.values()]
    assert not any("\0" in text for text in texts)
    assert all(text.encode() for text in texts if text)
    assert request.run_as_user is None or request.run_as_user > 999
    assert request.run_as_group is None or request.run_as_group > 0
    assert request.service_account_name in ("", "allowed")
    for kind in ("requests", "limits"):
        amounts = request.resources.get(kind, {})
        assert quantity.amount(amounts.get("cpu", "0")) <= 2
        assert quantity.amount(amounts.get("memory", "0")) <= 2**31
    label = names.user_label(request.username)
    claims = [each["persistentVolumeClaim"]["claimName"] for each in request.volumes]
    assert set(claims) <= {f"home-{label}"}
    again = launch_request.request_variables(request.resources, gpu_resource="nvidia.com/gpu")
    assert all(environment[name] == again[name] for name in again if "GPU" not in name)


@given(values)
def test_quantities(text):
    for parse in (
        quantity.parse_quantity,
        quantity.parse_cpu_limit,
        quantity.parse_memory_limit,
        quantity.parse_count,
    ):
        if parsed(lambda parse=parse: parse("KERNEL_CPUS", text), InvalidRequest) is not None:
            assert 0 <= quantity.amount(text) < 10**120
    with contextlib.suppress(ConfigurationError):
        quantity.amount(text)


def policy(**settings):
    """Return a policy with these settings, or None if they are refused."""
    with contextlib.suppress(ConfigurationError):
        return ClientPolicy(client_ids=True, **settings)
    return None


@given(st.lists(values, max_size=3), st.sampled_from([0, 1, 999, 1000, 2**31 - 1]))
def test_prohibited_ids_of_administrators(ids, user):
    if not (ours := policy(prohibited_uids=ids)):
        return
    allowed = parsed(
        lambda: ours.check_id("KERNEL_UID", str(user), in_force=None, setting="prohibited_uids"),
        PolicyViolation,
    )
    ranges = [each.partition("-") for each in ids]
    assert (allowed is None) == any(int(low) <= user <= int(high or low) for low, _, high in ranges)


@given(values)
def test_maxima_of_administrators(maximum):
    if maximum and (ours := policy(max_cpus=maximum)):
        assume(quantity.amount(maximum) < 10**14)
        too_much = str(int(quantity.amount(maximum)) + 1)
        with pytest.raises(PolicyViolation):
            ours.check_amount("KERNEL_CPUS", too_much, "max_cpus", kernels_own=None)


@given(
    spoiled_json(VOLUMES).map(lambda data: data.decode("utf-8", "replace")),
    spoiled_json(MOUNTS).map(lambda data: data.decode("utf-8", "replace")),
)
def test_volumes_of_clients(volumes, mounts):
    environment = {"KERNEL_VOLUMES": volumes, "KERNEL_VOLUME_MOUNTS": mounts}
    found = parsed(
        lambda: parse_client_volumes(environment, ["home-alice"]), InvalidRequest, PolicyViolation
    )
    if found is None:
        return
    for volume in found[0]:
        assert set(volume) == {"name", "persistentVolumeClaim"}
        assert volume["persistentVolumeClaim"]["claimName"] == "home-alice"
    for mount in found[1]:
        assert mount["mountPath"].startswith("/")
        assert ".." not in mount.get("subPath", "").split("/")
        assert mount["name"] in {volume["name"] for volume in found[0]}


@pytest.mark.parametrize("depth", [50, 500, 900, 950, 970, 980, 985, 990, 995])
@pytest.mark.parametrize("form", ["[]", '{"a":}'])
def test_deep_values_are_refused(depth, form):
    """Near Python's limit it reads what it can no longer write."""
    deep = form[:-1] * depth + "1" + form[-1] * depth
    claim = f'[{{"name": "v", "persistentVolumeClaim": {{"claimName": {deep}}}}}]'
    for environment in ({"KERNEL_VOLUMES": claim}, {"KERNEL_VOLUMES": deep}):
        errors = InvalidRequest, PolicyViolation
        assert parsed(lambda env=environment: parse_client_volumes(env, []), *errors) is None
    for field in START:
        body = dumped({**START, field: "@"}).replace(b'"@"', deep.encode())
        assert parsed(lambda body=body: start_request(body), InvalidRequest) is None


KERNELSPEC = {
    "argv": ["python"],
    "display_name": "Python",
    "language": "python",
    "env": {"A": "b"},
    "metadata": {
        "kernel_provisioner": {
            "provisioner_name": "docker-provisioner",
            "config": {"image_name": "an/image", "launch_timeout": 30, "port_range": "0..0"},
        }
    },
}
OPTIONS = SimpleNamespace(
    kernel_id="an-id",
    response_address="127.0.0.1:8877",
    public_key="key",
    port_range=None,
    kernel_class_name=None,
    spark_context_initialization_mode=None,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernelspec")


@given(spoiled_json(KERNELSPEC), environments)
def test_input_of_launch_scripts(folder, content, environment):
    (folder / "kernel.json").write_bytes(content)
    try:
        kernelspec = read_kernelspec(folder, DockerLaunchTraits, provisioner="docker-provisioner")
        request, _ = read_request(
            {**environment, "KERNEL_VOLUMES": "", "KERNEL_VOLUME_MOUNTS": ""},
            kernelspec.settings,
            volumes_belong_in="volumes",
        )
    except (ConfigurationError, InvalidRequest, PolicyViolation):
        return
    literal = literal_environment(OPTIONS, kernelspec, request)
    assert all(isinstance(value, str) for value in literal.values())


NETWORKS = parse_networks(["10.0.0.0/8", "fd00::/8"])
addresses = st.ip_addresses().map(str) | st.sampled_from(
    ["10.0.0.1", "fd00::1", "::ffff:10.0.0.1", "fe80::1%eth0", "10.0.0.1:80", "[fd00::1]", ""]
)


@given(addresses, st.lists(st.lists(addresses | odd_texts, max_size=40).map(",".join), max_size=3))
def test_addresses_that_proxies_name(peer, forwarded):
    address = client_address(peer, forwarded, NETWORKS)
    assert address == peer or address.count(":") <= 7
    crowd = Crowd(lambda _: None, most=2)
    for number in range(4):
        crowd.admit(number, address)
        crowd.move(number, peer)
    assert len(crowd) <= 2


@given(st.text(max_size=200) | odd_texts, st.text(max_size=99), st.integers(1, 10**6))
def test_names_of_pods(username, kernel_id, attempt):
    label = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
    for name in (names.pod_name(username, kernel_id, attempt), names.user_label(username)):
        assert len(name) <= names.MAX_LABEL
        assert re.fullmatch(label, name)
