"""The gateway's reaction to the pods that its watch reports: with simulated pods and kernels."""

import asyncio
import logging
from dataclasses import replace

import pytest
from kernel_records import SECRETS, kernel_record

from gateway_provisioners.aio import Backoff
from gateway_provisioners.errors import ClusterError, ProtocolError
from gateway_provisioners.gateway.backends import reconciler as module
from gateway_provisioners.gateway.backends.reconciler import Reconciler
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.model.kernel_record import NewerRecord
from gateway_provisioners.model.ownership import Access, Ownership
from gateway_provisioners.model.pod.kernel_state import (
    ENDING,
    LAUNCHING,
    RESTARTING,
    RUNNING,
    kernel_id_of,
    read_state,
)
from timeouts import within_timeout

OURS, GONE = "process-a", "process-b"
ALICE = Ownership("alice", ("analysts",))


def pod(kernel_id="k", state=RUNNING, operator="", attempt=1, ownership=None):
    return {
        "metadata": {
            "name": f"{kernel_id}-{attempt}",
            "resourceVersion": "1",
            "labels": {"kernel_id": kernel_id, "app.kubernetes.io/instance": "ours"},
            "annotations": {
                "gateway-provisioners/state": state,
                "gateway-provisioners/operator": operator,
                "gateway-provisioners/attempt": str(attempt),
                **(ownership.annotations() if ownership else {}),
            },
        }
    }


class Pods:
    """The pods as the watch and the API would report them."""

    instance = "ours"
    process = OURS

    def __init__(self, pods, records):
        self.cache = ObjectCache("pods", None)
        for each in pods:
            self.report("ADDED", each)
        self.records = records
        self.removed = []
        self.states = []

    def report(self, change, pod):
        self.cache._changed(change, pod)

    def kernel_ids(self):
        return {kernel_id_of(each, "ours") for each in self.cache.objects.values()}

    def of_kernel(self, kernel_id):
        pods = self.cache.objects.values()
        return [read_state(each) for each in pods if kernel_id_of(each, "ours") == kernel_id]

    async def record(self, name):
        answer = self.records.get(name)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def change_state(self, name, before, after, *, operator):
        self.states.append((name, before, after, operator))

    def remove_soon(self, name):
        self.removed.append(name)


class Gateways:
    def is_alive(self, process):
        return process == OURS

    def subscribe(self, listener):
        self.changed = listener
        return lambda: None


class Kernel:
    def __init__(self, workload_name):
        self.workload_name = workload_name


class Kernels(dict):
    """Manages kernels, if they are called `local`."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.started = {}
        self.owners = {}
        self.busy = {}
        self.starting = set()
        self.called = asyncio.Event()

    get_kernel = dict.__getitem__

    def _note(self, *call):
        self.calls.append(call)
        self.called.set()

    async def wait_for_operation(self, kernel_id):
        if kernel_id in self.busy:
            await self.busy[kernel_id].wait()

    async def adopt(self, *, kernel_id, kernel_name, restore, started, ownership, **_):
        if kernel_name != "local":
            raise ModuleNotFoundError(kernel_name)
        self.started[kernel_id] = started
        self.owners[kernel_id] = ownership
        self[kernel_id] = Kernel(f"{kernel_id}-1")
        self._note("adopt", kernel_id)

    async def follow(self, kernel_id, *, replaces, restore):
        self._note("follow", kernel_id, replaces)

    def ownership_of(self, kernel_id):
        return self.owners.get(kernel_id)

    def set_ownership(self, kernel_id, ownership):
        self.owners[kernel_id] = ownership

    async def announce_death(self, kernel_id):
        self._note("dead", kernel_id)

    def connections_changed(self, kernel_id): ...

    def cancel_start_soon(self, kernel_id):
        if kernel_id in self.starting:
            self._note("cancel", kernel_id)

    async def release(self, kernel_id, *, ended):
        del self[kernel_id]
        self._note("release" if ended else "leave to a newer gateway", kernel_id)


class Scene:
    def __init__(self, pods, records, *, is_leader=True):
        self.pods = Pods(pods, records)
        self.gateways = Gateways()
        self.kernels = Kernels()
        self.is_leader = is_leader
        self.reconciler = Reconciler(self.kernels, self.pods, self.gateways, lambda: self.is_leader)

    async def settle(self):
        """Return when nothing is under way."""
        while tasks := list(self.reconciler._worker._tasks.values()):
            await asyncio.wait(tasks)


@pytest.fixture
async def start():
    scenes = []

    async def start(*pods, is_leader=True, **records):
        named = {name.replace("_", "-"): answer for name, answer in records.items()}
        scene = Scene(pods, named, is_leader=is_leader)
        scenes.append(scene)
        await scene.reconciler.start()
        return scene

    yield start
    for scene in scenes:
        await scene.reconciler.stop()


async def test_all_kernels_are_taken_over_at_the_start(start):
    scene = await start(pod("a"), pod("b"), a_1=kernel_record("a"), b_1=kernel_record("b"))
    assert sorted(scene.kernels.calls) == [("adopt", "a"), ("adopt", "b")]
    assert scene.pods.removed == []


async def test_a_kernel_that_is_taken_over_is_as_old_as_it_was(start):
    first, later = pod("a"), pod("b", attempt=2)
    for each in (first, later):
        each["metadata"]["creationTimestamp"] = "2026-11-25T10:00:00Z"
    later["metadata"]["annotations"]["gateway-provisioners/started"] = "2026-11-24T10:00:00+00:00"
    scene = await start(first, later, a_1=kernel_record("a"), b_2=kernel_record("b"))
    assert scene.kernels.started == {
        "a": "2026-11-25T10:00:00+00:00",
        "b": "2026-11-24T10:00:00+00:00",
    }


async def test_a_kernel_that_is_taken_over_keeps_its_owner(start):
    """The pod is newer than the record; a pod of an earlier release has only the record."""
    of_record = replace(kernel_record("b"), ownership=Ownership("bob"))
    scene = await start(
        pod("a", ownership=ALICE),
        pod("b"),
        pod("c"),
        a_1=kernel_record("a"),
        b_1=of_record,
        c_1=kernel_record("c"),
    )
    assert scene.kernels.owners == {"a": ALICE, "b": Ownership("bob"), "c": Ownership()}


async def test_a_start_is_cancelled_if_another_gateway_was_asked_to(start):
    scene = await start()
    scene.kernels.starting = {"a", "b"}
    scene.pods.report("ADDED", pod("a", LAUNCHING, OURS))
    scene.pods.report("MODIFIED", pod("b", ENDING, OURS))
    assert scene.kernels.calls == []
    scene.pods.report("MODIFIED", pod("a", ENDING, "process-c"))
    assert scene.kernels.calls == [("cancel", "a")]


async def test_a_change_of_the_owner_is_followed_at_once(start):
    scene = await start(pod("a", ownership=ALICE), a_1=kernel_record("a"))
    await scene.settle()
    shared = replace(ALICE, users={"bob": Access.READ})
    scene.kernels.busy["a"] = asyncio.Event()  # this gateway restarts it meanwhile
    scene.pods.report("MODIFIED", pod("a", ownership=shared))
    assert scene.kernels.owners["a"] == shared
    scene.pods.report("MODIFIED", pod("a"))  # by a gateway of an earlier release
    assert scene.kernels.owners["a"] == shared
    scene.pods.report("ADDED", pod("a", LAUNCHING, OURS, attempt=2, ownership=Ownership()))
    assert scene.kernels.owners["a"] == shared  # the pod is not the kernel yet
    scene.kernels.busy["a"].set()


async def test_a_kernel_that_cannot_be_taken_over_takes_no_other_with_it(start, caplog):
    caplog.set_level(logging.WARNING)
    scene = await start(
        pod("broken"),
        pod("foreign"),
        pod("whole"),
        broken_1=ProtocolError("The attempt of the kernel's record is missing or malformed."),
        foreign_1=kernel_record("foreign", kernel_name="foreign"),
        whole_1=kernel_record("whole"),
    )
    assert scene.kernels.calls == [("adopt", "whole")]
    assert scene.pods.removed == []
    assert "broken" in caplog.text
    assert "foreign" in caplog.text
    assert not any(secret in caplog.text for secret in SECRETS)


async def test_a_newer_kernel_is_left_as_it_is(start, caplog):
    scene = await start(
        pod("newer"), pod("own"), newer_1=NewerRecord("newer", 2), own_1=kernel_record("own")
    )
    scene.pods.report("MODIFIED", pod("newer"))
    scene.gateways.changed()
    await scene.settle()
    assert scene.kernels.calls == [("adopt", "own")]
    assert scene.pods.removed == []
    [line] = [each.getMessage() for each in caplog.records if "newer" in each.getMessage()]
    assert line == (
        "Kernel newer in pod newer-1 is left as it is: Its record has version 2, and this gateway reads "
        "versions up to 1; upgrade this gateway, or shut the kernel down with the newer one."
    )


async def test_a_kernel_that_a_newer_gateway_restarts_is_released(start):
    scene = await start(pod(), k_1=kernel_record(), k_2=NewerRecord("k", 2))
    scene.pods.report("ADDED", pod(attempt=2))
    await scene.settle()
    scene.pods.report("DELETED", pod())
    await scene.settle()
    assert scene.kernels.calls == [("adopt", "k"), ("leave to a newer gateway", "k")]
    assert scene.pods.removed == ["k-1"]


async def test_pods_without_a_record_are_removed(start):
    scene = await start(
        pod("unfinished"), pod("bare"), bare_1=ClusterError("not found", status=404)
    )
    assert sorted(scene.pods.removed) == ["bare-1", "unfinished-1"]


async def test_a_gateway_that_cannot_read_a_record_does_not_start(start):
    with pytest.raises(ClusterError, match="no answer"):
        await start(pod(), k_1=ClusterError("no answer"))


async def test_a_record_that_cannot_be_read_later_is_read_again(start, monkeypatch):
    monkeypatch.setattr(module, "_BACKOFF", Backoff(0, 0))
    scene = await start()
    answers = [ClusterError("no answer"), kernel_record()]

    async def answer(_name):
        if isinstance(step := answers.pop(0), Exception):
            raise step
        return step

    scene.pods.record = answer
    scene.pods.report("ADDED", pod())
    await scene.settle()
    assert scene.kernels.calls == [("adopt", "k")]


async def test_starts_restarts_and_ends_by_other_gateways_are_followed(start):
    scene = await start(k_1=kernel_record(), k_2=kernel_record())
    scene.pods.report("ADDED", pod(state=LAUNCHING, operator=OURS))
    await scene.settle()
    assert scene.kernels.calls == []
    scene.pods.report("MODIFIED", pod())
    await scene.settle()
    scene.pods.report("MODIFIED", pod(state=RESTARTING, operator=OURS))
    scene.pods.report("ADDED", pod(attempt=2))
    await scene.settle()
    scene.pods.report("DELETED", pod())
    scene.pods.report("MODIFIED", pod(state=ENDING, operator=OURS, attempt=2))
    await scene.settle()
    assert scene.kernels.calls == [("adopt", "k"), ("follow", "k", "k-1"), ("release", "k")]
    assert scene.pods.removed == []


async def test_operations_of_this_gateway_are_waited_for(start):
    scene = await start(k_1=kernel_record())
    scene.kernels.busy["k"] = asyncio.Event()
    scene.pods.report("ADDED", pod())
    scene.kernels["k"] = Kernel("k-1")
    scene.kernels.busy["k"].set()
    await scene.settle()
    assert scene.kernels.calls == []


async def test_a_look_for_a_kernel_does_not_wait_for_a_start_that_began_since(start, monkeypatch):
    scene = await start()

    async def find(kernel_id):
        scene.kernels.busy.setdefault(kernel_id, asyncio.Event())
        scene.kernels.owners[kernel_id] = ALICE
        scene.pods.report("ADDED", pod(kernel_id, state=LAUNCHING, operator=OURS))

    monkeypatch.setattr(scene.pods, "find", find, raising=False)
    await within_timeout(scene.reconciler.find("k"))
    look = asyncio.create_task(scene.reconciler.find("k"))
    await asyncio.sleep(0)
    assert not look.done()
    scene.kernels.busy["k"].set()
    await within_timeout(look)


async def test_the_unfinished_work_of_a_dead_gateway_is_finished(start):
    scene = await start(pod(state=RESTARTING, operator=GONE), k_1=kernel_record())
    assert scene.pods.states == [("k-1", RESTARTING, RUNNING, GONE)]
    scene.pods.report("ADDED", pod("other", state=LAUNCHING, operator=GONE))
    await scene.settle()
    assert scene.pods.removed == ["other-1"]


async def test_pods_are_checked_when_a_gateway_is_gone(start):
    scene = await start(pod(state=LAUNCHING, operator=OURS))
    assert scene.pods.removed == []
    scene.gateways.is_alive = lambda _process: False
    scene.gateways.changed()
    await scene.settle()
    assert scene.pods.removed == ["k-1"]


async def test_the_leader_keeps_a_kernel_without_a_pod(start):
    scene = await start(pod(), k_1=kernel_record())
    scene.pods.report("DELETED", pod())
    await scene.settle()
    assert "k" in scene.kernels


async def test_clients_are_notified_of_a_death_that_the_leader_handles(start):
    scene = await start(pod(), k_1=kernel_record(), is_leader=False)
    scene.pods.report("MODIFIED", {**pod(), "status": {"phase": "Failed"}})
    await scene.settle()
    assert scene.kernels.calls == [("adopt", "k"), ("dead", "k")]


async def test_a_kernel_that_is_not_restarted_is_released_after_a_while(start, monkeypatch):
    monkeypatch.setattr(module, "_LOST_SECONDS", 0)
    scene = await start(pod(), k_1=kernel_record(), is_leader=False)
    scene.pods.report("DELETED", pod())
    while "k" in scene.kernels:
        scene.kernels.called.clear()
        await scene.kernels.called.wait()
    assert set(scene.kernels.calls) == {("adopt", "k"), ("dead", "k"), ("release", "k")}


async def test_a_kernel_that_is_being_restarted_is_not_lost(start, monkeypatch):
    monkeypatch.setattr(module, "_LOST_SECONDS", 0)
    scene = await start(pod(), k_1=kernel_record(), is_leader=False)
    scene.pods.report("DELETED", pod())
    scene.pods.report("ADDED", pod(state=LAUNCHING, operator=OURS, attempt=2))
    await scene.settle()
    assert scene.reconciler._lost == {}
    assert "k" in scene.kernels
