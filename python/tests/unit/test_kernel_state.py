"""Decisions of gateways from the pods of a kernel."""

import pytest

from gateway_provisioners.model.pod.kernel_state import (
    ENDING,
    LAUNCHING,
    RESTARTING,
    RUNNING,
    Decision,
    PodState,
    connected_annotation,
    connections_elsewhere,
    decide,
    kernel_id_of,
    read_state,
    state_change,
)

ALIVE, GONE = "process-a", "process-b"


def a_pod(name="pod", *, labels=None, annotations=None, **more):
    metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
    return {"metadata": metadata, **more}


def state(state, operator="", attempt=1, *, ended=False):
    return PodState(f"pod-{attempt}", state, operator, attempt, ended)


def decided(*pods):
    return decide(pods, is_alive=lambda process: process == ALIVE)


def test_a_running_kernel_is_served():
    running = state(RUNNING)
    assert decided(running) == Decision(serve=running)


def test_without_pods_there_is_nothing_to_do():
    assert decided() == Decision()


def test_a_launch_of_a_living_process_is_left_to_it():
    assert decided(state(LAUNCHING, ALIVE)) == Decision()


@pytest.mark.parametrize(
    "abandoned", [state(LAUNCHING, GONE), state(LAUNCHING), state(ENDING, GONE)]
)
def test_unfinished_pods_of_a_dead_process_are_removed(abandoned):
    decision = decided(abandoned)
    assert decision.remove == (abandoned,)
    assert decision.serve is None


def test_an_end_differs_from_a_loss():
    assert decided(state(ENDING, ALIVE)).ended
    assert not decided(state(LAUNCHING, ALIVE)).ended


def test_a_restart_under_way_keeps_the_kernel():
    old, new = state(RESTARTING, ALIVE, 1), state(LAUNCHING, ALIVE, 2)
    assert decided(new, old) == Decision(serve=old)


def test_an_abandoned_restart_is_undone():
    old, new = state(RESTARTING, GONE, 1, ended=True), state(LAUNCHING, GONE, 2)
    assert decided(old, new) == Decision(serve=old, reinstate=old, remove=(new,))


@pytest.mark.parametrize("operator", [ALIVE, GONE])
def test_the_newest_running_pod_is_the_kernel(operator):
    old, new = state(RESTARTING, operator, 1), state(RUNNING, attempt=2)
    remove = () if operator == ALIVE else (old,)
    assert decided(old, new) == Decision(serve=new, remove=remove)


def test_of_two_running_pods_the_older_one_goes():
    old, new = state(RUNNING, attempt=1), state(RUNNING, attempt=2)
    assert decided(new, old).remove == (old,)


def test_a_pod_is_read():
    pod = a_pod(
        annotations={
            "gateway-provisioners/state": "restarting",
            "gateway-provisioners/operator": "p",
            "gateway-provisioners/attempt": "3",
        },
        status={"phase": "Failed"},
    )
    assert read_state(pod) == PodState("pod", RESTARTING, "p", 3, ended=True)
    assert read_state(a_pod()) == PodState("pod", "", "", 1, ended=False)


def test_kernels_of_another_release_are_ignored():
    labels = {"kernel_id": "k", "app.kubernetes.io/instance": "theirs"}
    assert kernel_id_of(a_pod(labels=labels), "theirs") == "k"
    assert kernel_id_of(a_pod(labels=labels), "ours") == ""


def test_a_state_changes_only_from_what_it_was():
    assert state_change((RUNNING, ""), (RESTARTING, "p")) == [
        {
            "op": "test",
            "path": "/metadata/annotations/gateway-provisioners~1state",
            "value": RUNNING,
        },
        {"op": "test", "path": "/metadata/annotations/gateway-provisioners~1operator", "value": ""},
        {
            "op": "replace",
            "path": "/metadata/annotations/gateway-provisioners~1state",
            "value": RESTARTING,
        },
        {
            "op": "replace",
            "path": "/metadata/annotations/gateway-provisioners~1operator",
            "value": "p",
        },
    ]


@pytest.mark.parametrize("text", ["", "x", "-1", "\u0663", "9" * 5000])
def test_numbers_that_make_no_sense_do_not_count(text):
    pod = a_pod(
        annotations={"gateway-provisioners/attempt": text, connected_annotation(ALIVE): text}
    )
    assert read_state(pod).attempt == 1
    assert connections_elsewhere(pod, own="own", is_alive=lambda _: True) == 0


def test_connections_of_other_living_processes_count():
    counts = {"own": "1", ALIVE: "2", GONE: "4"}
    pod = a_pod(annotations={connected_annotation(name): count for name, count in counts.items()})
    assert connections_elsewhere(pod, own="own", is_alive=lambda process: process != GONE) == 2
