"""Leader election with a simulated API server and clock."""

import copy

import pytest

from fake_clock import Clock
from gateway_provisioners.errors import ClusterError
from gateway_provisioners.kube.lease import Lease


class Api:
    """Keeps one Lease as an API server does: a write must be based on the newest version."""

    def __init__(self):
        self.lease = None
        self.version = 0
        self.away = False
        self.writes = 0

    def _answer(self):
        if self.away:
            raise ClusterError("no answer in time")
        return copy.deepcopy(self.lease)

    async def read_lease(self, namespace, name):
        if self.lease is None and not self.away:
            raise ClusterError("not found", status=404)
        return self._answer()

    async def create_lease(self, namespace, manifest):
        if self.lease is not None:
            raise ClusterError("it exists", status=409)
        return self._store(manifest)

    async def replace_lease(self, namespace, name, manifest):
        if manifest["metadata"]["resourceVersion"] != str(self.version):
            raise ClusterError("it has changed", status=409)
        return self._store(manifest)

    def _store(self, manifest):
        self._answer()
        self.writes += 1
        self.version += 1
        self.lease = copy.deepcopy(manifest)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return self._answer()


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def gone():
    """Processes that are known to have ended."""
    return set()


@pytest.fixture
def contender(api, gone):
    def contender(name, clock=None):
        return Lease(
            api,
            "ns",
            "leader",
            holder=name,
            owner={"uid": "1"},
            is_alive=lambda process: process not in gone,
            clock=clock or Clock(),
        )

    return contender


async def test_the_first_takes_it_and_the_second_does_not(api, contender):
    first, second = contender("a"), contender("b")
    await first.contend()
    await second.contend()
    assert (first.held, second.held) == (True, False)
    assert api.lease["spec"]["holderIdentity"] == "a"
    assert api.lease["metadata"]["ownerReferences"] == [{"uid": "1"}]


async def test_a_holder_that_is_known_to_be_gone_is_replaced_at_once(api, contender, gone):
    await contender("a").contend()
    gone.add("a")
    second = contender("b")
    await second.contend()
    assert second.held
    assert api.lease["spec"]["leaseTransitions"] == 1


async def test_a_silent_holder_is_replaced_when_the_lease_has_expired(contender):
    await contender("a").contend()
    clock = Clock()
    second = contender("b", clock)
    await second.contend()
    clock.now += 30
    await second.contend()
    assert not second.held
    clock.now += 1
    await second.contend()
    assert second.held


async def test_clocks_may_differ(contender):
    ours, theirs = Clock(), Clock()
    theirs.now += 60
    first, second = contender("a", ours), contender("b", theirs)
    for _ in range(10):
        await first.contend()
        await second.contend()
        ours.now += 10
        theirs.now += 10
    assert (first.held, second.held) == (True, False)


async def test_a_holder_that_cannot_renew_stops_before_another_can_start(api, contender):
    clock = Clock()
    lease = contender("a", clock)
    await lease.contend()
    api.away = True
    clock.now += 19
    with pytest.raises(ClusterError):
        await lease.contend()
    assert lease.held
    clock.now += 1
    assert not lease.held
    api.away = False
    await lease.contend()
    assert lease.held


async def test_one_that_was_overtaken_notices(contender, gone):
    first = contender("a")
    await first.contend()
    gone.add("a")
    await contender("b").contend()
    gone.clear()
    await first.contend()
    assert not first.held


async def test_a_lease_that_is_left_is_free(api, contender):
    first = contender("a")
    first.start()
    await first.contend()
    await first.release()
    assert not first.held
    assert api.lease["spec"]["holderIdentity"] == ""
    second = contender("b")
    await second.contend()
    assert second.held
