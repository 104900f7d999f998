"""The pod of one kernel, as the watch reports it: the cause of its end, and the logs of its containers."""

import asyncio

import pytest

from gateway_provisioners.errors import ClusterError
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.kube.launched_pod import LaunchedPod
from gateway_provisioners.model.failures import LOG_LINES
from gateway_provisioners.model.pod.kernel_state import RESTARTING, RUNNING, STATE_ANNOTATION

FAILED = {"terminated": {"exitCode": 3}}
RUNS = {"running": {}}
DELETED = "The kernel's pod was deleted by another client of the Kubernetes API."


class Api:
    """The logs of containers; those that are not in it have none."""

    def __init__(self):
        self.logs = {}

    async def pod_log(self, _namespace, _name, *, container, lines):
        assert lines == LOG_LINES
        if container not in self.logs:
            raise ClusterError("is waiting to start", status=400)
        return self.logs[container]

    async def patch_pod(self, _namespace, _name, patch):
        assert patch == {"spec": {"activeDeadlineSeconds": 1}}


class Pods:
    """All pods, as far as a `LaunchedPod` needs them."""

    namespace = "kernels"

    def __init__(self):
        self.api = Api()
        self.cache = ObjectCache("pods", None)


@pytest.fixture
def pods():
    return Pods()


def seen(*, state=RUNNING, version="1", deletion=None, **status):
    metadata = {"name": "p", "resourceVersion": version, "annotations": {STATE_ANNOTATION: state}}
    if deletion:
        metadata["deletionTimestamp"] = deletion
    containers = [{"name": "kernel"}, {"name": "proxy"}]
    spec = {"restartPolicy": "Never", "containers": containers}
    return {"metadata": metadata, "spec": spec, "status": status}


def report(pods, pod, change="MODIFIED"):
    pods.cache._changed(change, pod)


def launched(pods, **status):
    pod = LaunchedPod(pods, "p")
    report(pods, seen(**status), "ADDED")
    return pod


async def test_the_first_cause_stays(pods):
    pod = launched(pods, phase="Running")
    assert pod.end_cause() is None
    report(pods, seen(version="2", deletion="2026-01-01T00:00:00Z", phase="Running"))
    assert pod.end_cause() == DELETED
    # A restart begins.
    report(pods, seen(version="3", state=RESTARTING, deletion="2026-01-01T00:00:00Z"))
    report(pods, seen(version="4", state=RESTARTING, phase="Failed", reason="Evicted"), "DELETED")
    assert pod.end_cause() == DELETED


async def test_a_pod_that_vanishes_was_deleted(pods):
    pod = launched(pods, phase="Running")
    report(pods, seen(version="2", phase="Running"), "DELETED")
    assert pod.end_cause() == DELETED


async def test_the_end_that_this_gateway_causes_has_no_cause(pods):
    pod = launched(pods, phase="Running")
    await pod.stop()
    report(pods, seen(version="2", deletion="2026-01-01T00:00:00Z", phase="Running"))
    assert pod.end_cause() is None


async def test_an_eviction_before_a_restart_is_reported_late(pods):
    pod = launched(pods, phase="Running", containerStatuses=[{"name": "kernel", "state": FAILED}])
    assert (pod.exit_code(), pod.end_cause()) == (3, None)
    await pod.stop()
    report(pods, seen(version="2", phase="Failed", reason="Evicted", message="low on disk"))
    assert pod.end_cause() == "The kernel's pod was evicted from its node: low on disk."


async def test_the_end_is_explained_once_the_pod_has_ended(pods):
    pod = launched(pods, phase="Running", containerStatuses=[{"name": "kernel", "state": FAILED}])
    explained = asyncio.ensure_future(pod.wait_end_explained())
    await asyncio.sleep(0)
    assert not explained.done()
    report(pods, seen(version="2", phase="Failed", reason="Evicted", message="low on disk"))
    await explained
    assert pod.end_cause() == "The kernel's pod was evicted from its node: low on disk."


async def test_a_deletion_explains_the_end_of_a_pod_that_still_runs(pods):
    pod = launched(pods, phase="Running")
    report(pods, seen(version="2", deletion="2026-01-01T00:00:00Z", phase="Running"))
    await pod.wait_end_explained()
    assert pod.end_cause() == DELETED


async def test_the_log_is_that_of_the_container_at_fault(pods):
    pods.api.logs = {"clone": "no route\n", "kernel": "hello\n"}
    init = [{"name": "clone", "state": FAILED}]
    pod = launched(pods, phase="Failed", initContainerStatuses=init)
    assert await pod.log_tail() == "no route"


async def test_the_logs_of_several_containers_have_their_names(pods):
    statuses = [{"name": "kernel", "state": RUNS}, {"name": "proxy", "state": FAILED}]
    pod = launched(pods, phase="Running", containerStatuses=statuses)
    pods.api.logs = {"proxy": "no upstream\n"}
    assert await pod.log_tail() == "proxy:\nno upstream"
    pods.api.logs["kernel"] = "hello\n"
    assert await pod.log_tail() == "kernel:\nhello\nproxy:\nno upstream"


async def test_long_lines_of_logs_are_cut(pods):
    statuses = [{"name": "kernel", "state": RUNS}, {"name": "proxy", "state": FAILED}]
    pods.api.logs = {"kernel": "x" * 10**6, "proxy": "y" * 10**6}
    both = launched(pods, phase="Running", containerStatuses=statuses)
    assert len(await both.log_tail()) < 6100
    one = launched(pods, phase="Running", containerStatuses=statuses[:1])
    assert await one.log_tail() == "x" * 6000
