"""The index of pods by kernel, as the watch reports them."""

import copy
from dataclasses import replace

import pytest
from kernel_specs import KERNEL

from gateway_provisioners.errors import ClusterError, KernelBusy, LaunchFailed, PolicyViolation
from gateway_provisioners.kube.pods import KernelPods
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.quota import KernelQuota
from unit.launches import new_progress


class Api:
    """An API server that answers patches as it is set to."""

    def __init__(self):
        self.patches, self.created, self.deleted = [], [], []
        self.failure = None
        self.report = lambda: None

    def collection(self, *_kind_and_namespace, **_selectors):
        return self

    async def list(self):
        return [self.created[-1]] if self.created else [], "2"

    async def create_pod(self, _namespace, manifest):
        self.created.append(manifest)
        return {
            **manifest,
            "metadata": {**manifest["metadata"], "resourceVersion": "1", "uid": "u"},
        }

    async def create_secret(self, _namespace, _secret):
        self.report()

    async def delete_pod(self, _namespace, name, *, grace_seconds):
        self.deleted.append(name)

    async def patch_pod(self, _namespace, name, patch, *, content_type):
        self.patches.append((name, patch, content_type))
        if self.failure is not None:
            raise self.failure
        return pod(name, "a")


def pod(name, kernel_id, instance="ours"):
    labels = {"kernel_id": kernel_id, "app.kubernetes.io/instance": instance}
    return {"metadata": {"name": name, "resourceVersion": "1", "labels": labels}}


@pytest.fixture
def pods():
    return KernelPods(Api(), "kernels", instance="ours", process="a", quota=KernelQuota())


def names(pods, kernel_id):
    return [state.name for state in pods.of_kernel(kernel_id)]


def test_pods_are_found_by_their_kernel(pods):
    for each in (pod("b-2", "b"), pod("a-1", "a"), pod("b-1", "b"), pod("x", "b", "others")):
        pods.cache.learn(each)
    assert pods.kernel_ids() == {"a", "b"}
    assert names(pods, "a") == ["a-1"]
    assert names(pods, "b") == ["b-1", "b-2"]
    assert names(pods, "c") == []


def test_a_kernel_is_unknown_when_its_last_pod_is_gone(pods):
    first, second = pod("a-1", "a"), pod("a-2", "a")
    for each in (first, second):
        pods.cache.learn(each)
    pods.cache._changed("DELETED", first)
    assert names(pods, "a") == ["a-2"]
    pods.cache._changed("DELETED", second)
    assert pods.kernel_ids() == set()
    assert names(pods, "a") == []


async def test_the_owner_is_stored_only_in_a_pod_that_stays(pods):
    """A restart that has begun would take the old owner over to the next pod."""
    pods.cache.learn(pod("a-1", "a"))
    await pods.store_ownership("a", Ownership("alice"))
    [(name, patch, content_type)] = pods.api.patches
    assert (name, content_type) == ("a-1", "application/json-patch+json")
    assert patch[0] == {
        "op": "test",
        "path": "/metadata/annotations/gateway-provisioners~1state",
        "value": "running",
    }
    assert {"op": "add", "path": OWNER, "value": "alice"} in patch[1:]
    assert {change["op"] for change in patch[1:]} == {"add"}


@pytest.mark.parametrize(
    ("status", "error"), [(404, KernelBusy), (422, KernelBusy), (500, ClusterError)]
)
async def test_an_owner_that_cannot_be_stored_is_an_error(pods, status, error):
    pods.cache.learn(pod("a-1", "a"))
    pods.api.failure = ClusterError("no", status=status)
    with pytest.raises(error):
        await pods.store_ownership("a", Ownership("alice"))


@pytest.mark.parametrize("count", [0, 2])
async def test_the_owner_of_a_kernel_that_is_moving_is_not_changed(pods, count):
    for number in range(count):
        pods.cache.learn(pod(f"a-{number}", "a"))
    with pytest.raises(KernelBusy, match="try again"):
        await pods.store_ownership("a", Ownership("alice"))
    assert pods.api.patches == []


OWNER = "/metadata/annotations/gateway-provisioners~1owner"


@pytest.mark.parametrize(
    "settings",
    [
        {"service_account_name": "gateway"},
        {"patch": {"spec": {"serviceAccountName": "gateway"}}},
        {"patch": {"spec": {"serviceAccount": "gateway"}}},
        {"patch": {"spec": {"serviceAccountName": None, "serviceAccount": "gateway"}}},
    ],
)
async def test_no_kernel_gets_the_gateways_account(settings):
    """A pod template of a kernelspec on a volume is not known to the chart."""
    pods = KernelPods(
        *(Api(), "kernels"),
        instance="ours",
        process="a",
        quota=KernelQuota(),
        prohibited_account="gateway",
    )
    with pytest.raises(PolicyViolation, match="ServiceAccount of the gateway"):
        await pods.create(replace(KERNEL, **settings), new_progress())


@pytest.mark.attack(15)
async def test_the_id_of_anothers_kernel_cannot_be_taken_at_another_gateway(pods):
    """Of two starts at the same time, the one that comes later yields."""
    of_alice = pod("alice-a-1", "a")
    of_alice["metadata"]["annotations"] = Ownership("alice").annotations()

    def report():
        [mine] = pods.api.created
        for each in (of_alice, {**mine, "metadata": {**mine["metadata"], "resourceVersion": "2"}}):
            pods.cache._changed("ADDED", each)

    pods.api.report = report
    with pytest.raises(KernelBusy, match="Another user has a kernel with this id"):
        await pods.create(
            replace(KERNEL, name="bob-a-1", ownership=Ownership("bob")), new_progress()
        )
    await pods._removals.finish()
    assert pods.api.deleted == ["bob-a-1"]


async def test_pods_of_the_same_user_are_one_kernel(pods):
    before = pod("alice-a-1", "a")
    before["metadata"]["annotations"] = Ownership("alice").annotations()

    def report():
        [mine] = pods.api.created
        for each in (before, {**mine, "metadata": {**mine["metadata"], "resourceVersion": "2"}}):
            pods.cache._changed("ADDED", each)

    pods.api.report = report
    created = await pods.create(
        replace(KERNEL, name="alice-a-2", ownership=Ownership("alice")), new_progress()
    )
    assert created.name == "alice-a-2"


OURS, KUEUES = {"name": "gateway-provisioners/secret"}, {"name": "kueue.x-k8s.io/admission"}


@pytest.fixture
def gated(pods, monkeypatch):
    """An API server that applies patches of gates to the one pod that was created."""
    api = pods.api

    async def patch_pod(_namespace, name, patch, *, content_type):
        api.patches.append((name, patch, content_type))
        if api.failure is not None:
            raise api.failure
        gates = api.created[-1]["spec"]["schedulingGates"]
        test, remove = patch
        number = int(remove["path"].rpartition("/")[2])
        if not (number < len(gates) and gates[number]["name"] == test["value"]):
            raise ClusterError("the test failed", status=422)
        del gates[number]

    create_pod = api.create_pod

    async def create_gated(namespace, manifest):
        manifest["spec"]["schedulingGates"].insert(0, dict(KUEUES))
        return copy.deepcopy(await create_pod(namespace, manifest))

    monkeypatch.setattr(api, "patch_pod", patch_pod)
    monkeypatch.setattr(api, "create_pod", create_gated)
    return pods


def gates_of(pods):
    return pods.api.created[-1]["spec"]["schedulingGates"]


async def test_the_gate_of_another_party_stays(gated):
    await gated.create(KERNEL, new_progress())
    assert gates_of(gated) == [KUEUES]
    assert len(gated.api.patches) == 1


async def test_a_gate_that_another_party_lifts_meanwhile_is_not_added_again(gated):
    gated.api.report = lambda: gates_of(gated).remove(KUEUES)
    await gated.create(KERNEL, new_progress())
    assert gates_of(gated) == []
    assert len(gated.api.patches) == 2


async def test_the_watch_may_know_the_newer_gates(gated):
    def report():
        gates_of(gated).remove(KUEUES)
        [mine] = gated.api.created
        newer = {**mine, "metadata": {**mine["metadata"], "resourceVersion": "2"}}
        gated.cache._changed("ADDED", newer)

    gated.api.report = report
    await gated.create(KERNEL, new_progress())
    assert gates_of(gated) == []
    assert len(gated.api.patches) == 1


async def test_a_gate_that_the_api_does_not_let_open_is_an_error(gated):
    gated.api.failure = ClusterError("a webhook refuses", status=422)
    with pytest.raises(LaunchFailed, match="a webhook refuses"):
        await gated.create(KERNEL, new_progress())
    assert 1 < len(gated.api.patches) < 10
    await gated._removals.finish()


def launching(operator, *, attempt="1", owner="alice"):
    each = pod("a-1", "a")
    each["metadata"]["annotations"] = {
        "gateway-provisioners/state": "launching",
        "gateway-provisioners/operator": operator,
        "gateway-provisioners/attempt": attempt,
        **Ownership(owner).annotations(),
    }
    return each


async def test_a_start_by_another_gateway_is_cancelled_by_its_owner(pods):
    pods.cache.learn(launching("b"))
    assert not await pods.cancel_start("a", lambda owner: owner.owner == "bob")
    assert pods.api.patches == []
    assert await pods.cancel_start("a", lambda owner: owner.owner == "alice")
    [(name, patch, _)] = pods.api.patches
    assert name == "a-1"
    assert [(each["op"], each["value"]) for each in patch] == [
        ("test", "launching"),
        ("test", "b"),
        ("replace", "ending"),
        ("replace", "a"),
    ]
    await pods._removals.finish()
    assert pods.api.deleted == ["a-1"]


@pytest.mark.parametrize(("operator", "attempt"), [("a", "1"), ("b", "2")])
async def test_only_another_gateways_first_start_is_cancelled(pods, operator, attempt):
    pods.cache.learn(launching(operator, attempt=attempt))
    assert not await pods.cancel_start("a", lambda _owner: True)
    assert pods.api.patches == []


async def test_a_kernel_that_has_just_started_is_not_cancelled(pods):
    pods.cache.learn(launching("b"))
    pods.api.failure = ClusterError("its state has changed", status=422)
    assert not await pods.cancel_start("a", lambda _owner: True)
    await pods._removals.finish()
    assert pods.api.deleted == []
