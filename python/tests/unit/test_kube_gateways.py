"""The gateways whose processes still run."""

import asyncio

import pytest

from gateway_provisioners.kube.gateways import Gateways


def pod(name, process, phase="Running", version=1):
    return {
        "metadata": {
            "name": name,
            "resourceVersion": str(version),
            "annotations": {"gateway-provisioners/process": process},
        },
        "status": {"phase": phase},
    }


class Api:
    """Lists some pods, and then streams the events that the test puts into `events`."""

    def __init__(self, *pods):
        self.pods = pods
        self.events = asyncio.Queue()
        self.patched = []

    async def patch_pod(self, namespace, name, patch):
        self.patched.append(("pods", name, patch["metadata"]["annotations"]))

    async def annotate_through_status(self, namespace, name, annotations):
        self.patched.append(("pods/status", name, annotations))

    def collection(self, kind, namespace, *, label_selector):
        assert (kind, label_selector) == ("Pod", "app=gateway")
        return self

    async def list(self):
        return list(self.pods), "1"

    async def changes(self, version):
        while True:
            yield await self.events.get()


@pytest.fixture
async def follow():
    started = []

    async def follow(api, own_pod="a", *, patches_pods=True):
        gateways = Gateways(
            api,
            "ns",
            selector="app=gateway",
            own_pod=own_pod,
            process="own",
            patches_pods=patches_pods,
        )
        await gateways.start()
        started.append(gateways)
        return gateways

    yield follow
    for gateways in started:
        await gateways.stop()


async def test_a_process_makes_itself_known_and_knows_the_others(follow):
    api = Api(pod("a", "earlier"), pod("b", "other"), pod("c", "ended", phase="Failed"))
    gateways = await follow(api)
    assert api.patched == [("pods", "a", {"gateway-provisioners/process": "own"})]
    alive = [name for name in ("own", "other", "ended", "never", "") if gateways.is_alive(name)]
    assert alive == ["own", "other"]


async def test_without_the_right_to_patch_pods_it_patches_its_status(follow):
    api = Api()
    await follow(api, patches_pods=False)
    assert api.patched == [("pods/status", "a", {"gateway-provisioners/process": "own"})]


async def test_a_process_is_gone_with_its_pod_or_when_another_one_runs_there(follow):
    api = Api(pod("b", "first"), pod("c", "second"))
    gateways = await follow(api)
    heard = asyncio.Event()
    gateways.subscribe(heard.set)
    api.events.put_nowait(("DELETED", pod("b", "first", version=2)))
    await heard.wait()
    assert not gateways.is_alive("first")
    heard.clear()
    api.events.put_nowait(("MODIFIED", pod("c", "third", version=3)))
    await heard.wait()
    assert (gateways.is_alive("second"), gateways.is_alive("third")) == (False, True)


async def test_outside_a_cluster_a_process_has_no_peers(follow):
    gateways = await follow(Api(), own_pod="")
    assert gateways.is_alive("own")
    assert not gateways.is_alive("other")
