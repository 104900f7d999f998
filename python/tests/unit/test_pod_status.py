import pytest

from gateway_provisioners.model.pod.api_refusal import creation_failure
from gateway_provisioners.model.pod.conditions import StartConditions
from gateway_provisioners.model.pod.ends import end_cause
from gateway_provisioners.model.pod.progress import progress
from gateway_provisioners.model.pod.status import addresses, exit_code


def pod(*, state=None, image="acme/nowhere:1", **status):
    if state is not None:
        status["containerStatuses"] = [{"name": "kernel", "image": image, "state": state}]
    spec = {"containers": [{"name": "kernel", "resources": {"requests": {"cpu": "64"}}}]}
    return {"metadata": {"name": "p"}, "spec": spec, "status": status}


def unschedulable(message):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return pod(phase="Pending", conditions=[{**condition, "message": message}])


UNSCHEDULABLE = unschedulable("0/1 nodes are available: 1 Insufficient cpu.")
RUNNING = pod(phase="Running", podIP="10.244.0.7", state={"running": {}})


@pytest.mark.parametrize(
    ("seen", "reason", "words"),
    [
        (
            pod(state={"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
            "ImagePull",
            ["'acme/nowhere:1'", "not found", "ErrImagePull"],
        ),
        (pod(state={"waiting": {"reason": "InvalidImageName"}}), "ImagePull", ["cannot be pulled"]),
        (
            pod(
                state={
                    "waiting": {
                        "reason": "CreateContainerConfigError",
                        "message": 'secret "x" not found',
                    }
                }
            ),
            "ContainerCannotRun",
            ['secret "x" not found'],
        ),
        (
            pod(phase="Failed", state={"terminated": {"exitCode": 127}}),
            "ContainerExited",
            ["code 127", "bootstrap-kernel.sh"],
        ),
        (
            pod(phase="Failed", state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            "OOMKilled",
            ["more memory than its limit"],
        ),
        (
            pod(
                phase="Failed",
                state={"terminated": {"reason": "StartError", "message": "no such file"}},
            ),
            "ContainerCannotRun",
            ["no such file"],
        ),
        (
            pod(phase="Failed", reason="Evicted", message="low on memory"),
            "Evicted",
            ["low on memory"],
        ),
        (UNSCHEDULABLE, "Unschedulable", ["Insufficient cpu", "cpu 64"]),
    ],
)
def test_the_cause_is_explained(seen, reason, words):
    failure = StartConditions(seen).failure(unschedulable_is_final=True)
    assert failure.reason == reason
    for word in words:
        assert word in failure.message


@pytest.mark.parametrize(
    "seen",
    [
        {"metadata": {}},
        pod(phase="Pending"),
        pod(phase="Pending", state={"waiting": {"reason": "ContainerCreating"}}),
        RUNNING,
    ],
)
def test_a_pod_that_may_still_start_has_not_failed(seen):
    assert StartConditions(seen).failure(unschedulable_is_final=True) is None
    assert exit_code(seen) is None


def test_a_pod_that_is_deleted_will_not_start():
    deleted = {**RUNNING, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert StartConditions(deleted).failure(unschedulable_is_final=True).reason == "Deleted"
    assert exit_code(deleted) == 137


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (pod(phase="Succeeded"), 0),
        (pod(phase="Failed"), 137),
        (pod(phase="Failed", state={"terminated": {"exitCode": 7}}), 7),
    ],
)
def test_exit_codes(seen, code):
    assert exit_code(seen) == code


def words_of_progress(seen):
    return progress(seen, StartConditions(seen)).message


def test_addresses_and_progress():
    assert addresses(RUNNING) == ["10.244.0.7"]
    dual = pod(podIP="10.244.0.7", podIPs=[{"ip": "10.244.0.7"}, {"ip": "fd00::7"}])
    assert addresses(dual) == ["10.244.0.7", "fd00::7"]
    assert addresses(pod(phase="Pending")) == []
    assert "launcher" in words_of_progress(RUNNING)
    assert "pulling" in words_of_progress(pod(state={"waiting": {"reason": "ContainerCreating"}}))
    assert "Insufficient cpu" in words_of_progress(UNSCHEDULABLE)
    assert "Pending" in words_of_progress(pod(phase="Pending"))


@pytest.mark.parametrize(
    ("status", "api_reason", "message", "reason"),
    [
        (403, "Forbidden", 'pods "p" is forbidden: exceeded quota: small', "QuotaExceeded"),
        (403, "Forbidden", "failed quota: small: must specify limits.memory", "QuotaExceeded"),
        (
            403,
            "Forbidden",
            'pods "p" is forbidden: violates PodSecurity "restricted"',
            "PodSecurity",
        ),
        (403, "Forbidden", 'User "x" cannot create resource "pods"', "Forbidden"),
        (422, "Invalid", "must be less than or equal to cpu limit", "InvalidPod"),
        (500, "InternalError", "etcd", "ClusterError"),
        (0, "", "connection refused", "ClusterUnavailable"),
    ],
)
def test_refusals_of_the_api_are_explained(status, api_reason, message, reason):
    failure = creation_failure(status=status, api_reason=api_reason, message=message)
    assert failure.reason == reason
    assert message in failure.message


def test_the_cause_of_a_running_kernels_end():
    killed = pod(phase="Failed", state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
    assert "memory" in end_cause(killed)
    evicted = pod(phase="Failed", reason="Evicted", message="low on disk")
    assert "low on disk" in end_cause(evicted)
    assert end_cause(pod(phase="Failed", state={"terminated": {"exitCode": 3}})) is None
    assert end_cause(RUNNING) is None
