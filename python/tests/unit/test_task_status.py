import pytest

from gateway_provisioners.model.container.task_status import (
    addresses,
    container_name,
    exit_code,
    is_unschedulable,
    progress,
    start_failure,
)


def task(state, error="", **container):
    status = {"State": state, "ContainerStatus": container}
    if error:
        status["Err"] = error
    return {"Status": status, "Spec": {"ContainerSpec": {"Image": "acme/x:1"}}}


NO_NODE = task("pending", "no suitable node (scheduling constraints not satisfied on 1 node)")


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (task("running"), None),
        (task("pending"), None),
        (task("complete", ExitCode=0), 0),
        (task("failed", "task: non-zero exit (3)", ExitCode=3), 3),
        # Not ended by its own container, whatever code Swarm has for it.
        (task("shutdown", ExitCode=0), 137),
        (task("rejected"), 137),
        (task("orphaned"), 137),
    ],
)
def test_exit_codes(what, code):
    assert exit_code(what) == code


@pytest.mark.parametrize(
    ("what", "reason", "words"),
    [
        (task("failed", "task: non-zero exit (127)", ExitCode=127), "ContainerExited", "code 127"),
        (task("complete", ExitCode=0), "ContainerExited", "code 0"),
        (
            task("failed", "starting container failed: no such program", ExitCode=127),
            "ContainerCannotRun",
            "no such program",
        ),
        (task("rejected", "No such image: acme/x:1"), "ImagePull", "'acme/x:1'"),
        (task("rejected", "invalid mount config for type"), "VolumeMissing", "invalid mount"),
        (task("rejected", "something else"), "ContainerCannotRun", "something else"),
        (task("shutdown"), "Deleted", "shutdown"),
    ],
)
def test_start_failures_of_tasks(what, reason, words):
    failure = start_failure(what, unschedulable_is_final=False)
    assert failure.reason == reason
    assert words in failure.message


def test_a_task_that_may_still_become_one():
    for state in ("new", "pending", "assigned", "preparing", "starting", "running"):
        assert start_failure(task(state), unschedulable_is_final=True) is None


def test_unschedulable_is_final_without_a_grace_time():
    assert is_unschedulable(NO_NODE)
    assert not is_unschedulable(task("pending"))
    assert start_failure(NO_NODE, unschedulable_is_final=False) is None
    failure = start_failure(NO_NODE, unschedulable_is_final=True)
    assert failure.reason == "Unschedulable"
    assert "scheduling constraints not satisfied" in failure.message


def test_progress():
    assert "has not reported" in progress(task("running")).message
    assert "pulling a large image" in progress(task("preparing")).message
    assert progress(task("starting")).message == "The kernel's task is still starting."
    assert "No node of the swarm" in progress(NO_NODE).message


def test_the_addresses_on_an_overlay_network():
    assert addresses(task("running")) == []
    attached = {"NetworksAttachments": [{"Addresses": ["10.0.1.7/24"]}]}
    assert addresses({**task("running"), **attached}) == ["10.0.1.7"]


def test_a_container_has_a_name_once_it_exists():
    started = {**task("running", ContainerID="abc"), "Slot": 1, "ID": "task-id"}
    assert container_name(started, "alice-1") == "alice-1.1.task-id"
    assert not container_name(task("pending"), "alice-1")
