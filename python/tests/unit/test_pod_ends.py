"""The ends of a pod as the API reports them: of one that starts, and of a kernel that was running."""

import pytest

from gateway_provisioners.model.pod.ends import deleted, end_before_start, end_cause
from gateway_provisioners.model.pod.kernel_state import (
    ENDING,
    RESTARTING,
    RUNNING,
    STATE_ANNOTATION,
)

DELETED = "2026-01-01T00:00:00Z"


def pod(*, state=None, annotations=None, deletion=None, spec=None, **status):
    if state is not None:
        status["containerStatuses"] = [{"name": "kernel", "state": state}]
    metadata = {"name": "p", "annotations": {STATE_ANNOTATION: annotations or RUNNING}}
    if deletion:
        metadata["deletionTimestamp"] = deletion
    spec = {"restartPolicy": "Never", "containers": [{"name": "kernel"}], **(spec or {})}
    return {"metadata": metadata, "spec": spec, "status": status}


def disruption(reason, message="", status="True"):
    return [{"type": "DisruptionTarget", "status": status, "reason": reason, "message": message}]


# The texts of Kubernetes 1.34.
PODS = [
    (
        "Evicted",
        "The node was low on resource: memory. ",
        "Evicted",
        "evicted from its node: The node",
    ),
    ("Evicted", "", "Evicted", "evicted from its node: no further details."),
    (
        "Preempting",
        "Preempted in order to admit critical pod",
        "Preempted",
        "The node needed the kernel's place for a critical pod: Preempted in order to admit critical pod.",
    ),
    (
        "Terminated",
        "Pod was terminated in response to imminent node shutdown.",
        "NodeShutdown",
        "The kernel's node is being shut down: Pod was terminated",
    ),
    (
        "NodeShutdown",
        "Pod was rejected as the node is shutting down.",
        "NodeShutdown",
        "The kernel's node is being shut down: Pod was rejected",
    ),
    ("Shutdown", "Node is shutting", "NodeShutdown", "The kernel's node is being shut down"),
    (
        "NodeLost",
        "Node a which was running pod p is unresponsive",
        "NodeLost",
        "The kernel's node no longer answers: Node a which was running pod p is unresponsive.",
    ),
    (
        "DeadlineExceeded",
        "Pod was active on the node longer than the specified deadline",
        "DeadlineExceeded",
        "The kernel's time is up (activeDeadlineSeconds of its pod): Pod was active",
    ),
    (
        "OutOfcpu",
        "Node didn't have enough resource: cpu, requested: 1, used: 2, capacity: 2",
        "OutOfcpu",
        "The node did not accept the kernel's pod (OutOfcpu): Node didn't have enough resource: cpu",
    ),
    (
        "OutOfephemeral-storage",
        "x",
        "OutOfephemeral-storage",
        "did not accept the kernel's pod (OutOfephemeral-storage): x.",
    ),
    (
        "NodeAffinity",
        "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        "NodeAffinity",
        "The node did not accept the kernel's pod (NodeAffinity): Predicate",
    ),
    (
        "UnexpectedAdmissionError",
        "Allocate failed due to no healthy devices present, which is unexpected.",
        "UnexpectedAdmissionError",
        "did not accept the kernel's pod (UnexpectedAdmissionError): Allocate failed",
    ),
    ("TopologyAffinityError", "x", "TopologyAffinityError", "did not accept the kernel's pod"),
    (
        "SomethingNew",
        "",
        "SomethingNew",
        "The kernel's pod failed (SomethingNew): no further details.",
    ),
    ("not a word\n", "", "PodFailed", "The kernel's pod failed (not a word"),
]
DISRUPTIONS = [
    (
        "PreemptionByScheduler",
        "default-scheduler: preempting to accommodate a higher priority pod",
        "Preempted",
        "The kernel's pod was preempted: a pod with a higher priority needed its place.",
    ),
    (
        "EvictionByEvictionAPI",
        "Eviction API: evicting",
        "Evicted",
        "The kernel's pod was evicted from its node through the Eviction API, as drains and autoscalers do.",
    ),
    (
        "DeletionByTaintManager",
        "Taint manager: deleting due to NoExecute taint",
        "NodeTainted",
        "The kernel's node has got a taint that its pod does not tolerate",
    ),
    (
        "DeletionByDeviceTaintManager",
        "Device Taint manager: deleting due to NoExecute taint",
        "NodeTainted",
        "A device that the kernel used has got a taint",
    ),
    (
        "DeletionByPodGC",
        "PodGC: node no longer exists",
        "NodeLost",
        "The kernel's node no longer exists.",
    ),
    (
        "TerminationByKubelet",
        "Pod was preempted by Kubelet to accommodate a critical pod.",
        "Evicted",
        "The node ended the kernel's pod: Pod was preempted by Kubelet",
    ),
    ("Another", "why not", "Evicted", "The kernel's pod was evicted (Another): why not."),
]


@pytest.mark.parametrize(("word", "message", "reason", "words"), PODS)
def test_reasons_of_pods(word, message, reason, words):
    ended = pod(phase="Failed", reason=word, message=message)
    failure = end_before_start(ended)
    assert failure.reason == reason
    assert words in failure.message
    assert failure.message.endswith(" Start it again.")
    assert words in end_cause(ended)


@pytest.mark.parametrize(("word", "message", "reason", "words"), DISRUPTIONS)
def test_disruptions_of_pods(word, message, reason, words):
    target = pod(phase="Running", conditions=disruption(word, message), deletion=DELETED)
    for failure in (end_before_start(target), deleted(target)):
        assert failure.reason == reason
        assert failure.message.startswith(words)
        assert failure.message.endswith(" Start it again.")
    assert end_cause(target).startswith(words)


def test_a_pod_that_is_to_be_disrupted_has_not_ended():
    target = pod(phase="Running", conditions=disruption("EvictionByEvictionAPI"))
    assert end_before_start(target) is None
    assert end_cause(target) is None


def test_a_disruption_that_did_not_happen_is_no_cause():
    conditions = disruption("PreemptionByScheduler", status="False")
    target = pod(phase="Running", conditions=conditions, deletion=DELETED)
    assert end_before_start(target).reason == "Deleted"
    assert (
        end_cause(target) == "The kernel's pod was deleted by another client of the Kubernetes API."
    )


def test_the_nodes_own_reason_comes_before_the_condition_and_the_exit_code():
    killed = {"terminated": {"exitCode": 137, "reason": "Error"}}
    conditions = disruption("TerminationByKubelet", "The node was low on resource: memory.")
    ended = pod(
        phase="Failed", reason="Evicted", message="low on disk", state=killed, conditions=conditions
    )
    assert end_before_start(ended).message.startswith(
        "The kernel's pod was evicted from its node: low on disk."
    )
    assert end_cause(ended) == "The kernel's pod was evicted from its node: low on disk."


def test_memory_comes_first():
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    ended = pod(phase="Failed", reason="Evicted", state=killed)
    assert end_before_start(ended).reason == "OOMKilled"
    assert "OOMKilled" in end_cause(ended)
    own = {"containers": [{"name": "kernel", "resources": {"limits": {"memory": "2Gi"}}}]}
    of_pod = {**own, "containers": [{"name": "kernel"}], "resources": {"limits": {"memory": "2Gi"}}}
    for spec in (own, of_pod):
        seen = pod(spec=spec, state=killed)
        for words in (end_before_start(seen).message, end_cause(seen)):
            assert "its limit of 2Gi and was killed" in words


def test_long_texts_of_the_cluster_are_cut():
    ended = pod(phase="Failed", reason="X" * 5000, message="y" * 50_000)
    assert end_before_start(ended).reason == "PodFailed"
    assert len(end_before_start(ended).message) < 1200
    assert len(end_cause(ended)) < 1200


@pytest.mark.parametrize("seen", [pod(phase="Running", deletion=DELETED), pod(phase="Running")])
def test_a_running_kernel_whose_pod_is_deleted(seen):
    gone = "deletionTimestamp" not in seen["metadata"]
    cause = "The kernel's pod was deleted by another client of the Kubernetes API."
    assert end_cause(seen, gone=gone) == cause
    assert end_cause(seen, gone=gone, by_gateway=True) is None
    for state in (RESTARTING, ENDING):
        seen["metadata"]["annotations"] = {STATE_ANNOTATION: state}
        assert end_cause(seen, gone=gone) is None


def test_a_pod_that_had_ended_before_it_was_deleted():
    for status in (
        {"phase": "Failed"},
        {"phase": "Running", "state": {"terminated": {"exitCode": 3}}},
    ):
        assert end_cause(pod(deletion=DELETED, **status)) is None
    assert end_cause({}, gone=True) is None


def test_a_gateways_own_deadline_is_no_cause():
    status = {"phase": "Failed", "reason": "DeadlineExceeded"}
    assert end_cause(pod(spec={"activeDeadlineSeconds": 1}, **status)) is None
    assert "activeDeadlineSeconds" in end_cause(pod(spec={"activeDeadlineSeconds": 60}, **status))


def test_a_failure_without_any_cause():
    failure = end_before_start(pod(phase="Failed"))
    assert (failure.reason, str(failure)) == (
        "PodFailed",
        "The kernel's pod failed (PodFailed): no further details.",
    )
