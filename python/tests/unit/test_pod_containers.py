"""Init containers and sidecars of a kernel's pod: their failures, and what a start waits for."""

import pytest

from gateway_provisioners.model.pod.conditions import StartConditions
from gateway_provisioners.model.pod.containers import (
    container_progress,
    containers_with_logs,
    sidecar_failures,
)
from gateway_provisioners.model.pod.ends import end_before_start
from gateway_provisioners.model.pod.progress import progress as progress_of

WAITING = {"waiting": {"reason": "PodInitializing"}}
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}
FAILED = {"terminated": {"exitCode": 3, "reason": "Error"}}
OUT_OF_MEMORY = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
UNRUNNABLE = {"terminated": {"exitCode": 128, "reason": "StartError", "message": "sh: not found"}}
CRASH_LOOP = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}}


def status(name, state, **others):
    return {"name": name, "image": f"acme/{name}:1", "state": state, **others}


def pod(*init, kernel=WAITING, beside=(), restart="Never", native=(), **fields):
    return {
        "metadata": {"name": "p"},
        "spec": {
            "restartPolicy": restart,
            "initContainers": [{"name": name, "restartPolicy": "Always"} for name in native],
            "containers": [{"name": "kernel"}, {"name": "proxy"}],
        },
        "status": {
            "phase": "Pending",
            "initContainerStatuses": list(init),
            "containerStatuses": [*beside, status("kernel", kernel)],
            **fields,
        },
    }


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (FAILED, "The init container 'clone' exited with code 3."),
        (
            OUT_OF_MEMORY,
            "The init container 'clone' needed more memory than its limit and was killed (OOMKilled).",
        ),
        (
            UNRUNNABLE,
            "The init container 'clone' cannot be started from its image 'acme/clone:1': sh: not found.",
        ),
    ],
)
def test_an_init_container_that_fails(state, message):
    seen = pod(status("first", DONE), status("clone", state), phase="Failed")
    failure = end_before_start(seen)
    assert (failure.reason, failure.message) == ("InitContainerFailed", message)
    assert failure.container_ran
    assert containers_with_logs(seen) == ["clone"]
    # The status of the container may come before the phase.
    seen["status"]["phase"] = "Pending"
    assert end_before_start(seen).message == message


def test_an_init_container_that_is_run_again_has_not_failed_yet():
    assert end_before_start(pod(status("clone", FAILED), restart="OnFailure")) is None
    again = status("image-1", CRASH_LOOP, lastState=UNRUNNABLE)
    failure = end_before_start(pod(again, restart="Always"))
    assert "'image-1' cannot be started from its image 'acme/image-1:1'" in failure.message
    unknown = end_before_start(pod(status("image-1", CRASH_LOOP), restart="Always"))
    assert unknown.message == "The init container 'image-1' keeps exiting."


def test_an_eviction_is_not_the_init_containers_failure():
    seen = pod(status("clone", FAILED), phase="Failed", reason="Evicted", message="low on disk")
    assert end_before_start(seen).reason == "Evicted"


def test_a_slow_init_container_is_named():
    seen = pod(status("first", DONE), status("clone", RUNNING), status("chown", WAITING))
    assert container_progress(seen) == "The init container 'clone' is still running."
    assert progress_of(seen, StartConditions(seen)).message == container_progress(seen)
    assert containers_with_logs(seen) == ["clone"]
    assert end_before_start(seen) is None


@pytest.mark.parametrize(
    ("seen", "image"),
    [
        (pod(status("clone", WAITING), status("chown", WAITING)), "acme/clone:1"),
        (pod(status("clone", DONE)), "acme/kernel:1"),
        (pod(beside=[status("proxy", RUNNING)]), "acme/kernel:1"),
        (pod(beside=[status("proxy", WAITING)]), "acme/proxy:1"),
    ],
)
def test_the_image_that_is_pulled_is_named(seen, image):
    assert container_progress(seen) == (
        "The node is still creating the container; pulling a large image takes time. "
        f"The image is '{image}'."
    )
    assert containers_with_logs(seen) == ["kernel"]


def test_volumes_and_network_come_before_images():
    unready = {"type": "PodReadyToStartContainers", "status": "False"}
    seen = pod(status("clone", WAITING), conditions=[unready])
    assert (
        container_progress(seen)
        == "The node is still preparing the kernel's volumes and its network."
    )


def test_a_sidecar_that_has_ended_is_named_and_is_no_failure():
    seen = pod(kernel=RUNNING, beside=[status("proxy", FAILED)], phase="Running")
    assert end_before_start(seen) is None
    words = "The kernel's launcher has not reported to the gateway, though its container runs."
    assert (
        progress_of(seen, StartConditions(seen)).message
        == f"{words} The sidecar 'proxy' exited with code 3."
    )
    assert containers_with_logs(seen) == ["kernel", "proxy"]


def test_a_sidecar_that_has_ended_is_named_in_the_kernels_failure():
    lost = {"terminated": {"exitCode": 70}}
    failure = end_before_start(pod(kernel=lost, beside=[status("proxy", FAILED)], phase="Failed"))
    assert failure.reason == "ContainerExited"
    assert failure.message.endswith(
        "before the kernel was up. The sidecar 'proxy' exited with code 3."
    )
    assert failure.container_ran


@pytest.mark.parametrize("state", [CRASH_LOOP, RUNNING], ids=["waiting", "running again"])
def test_a_sidecar_that_keeps_exiting_is_named(state):
    crashing = status("proxy", state, started=False, lastState=FAILED)
    seen = pod(crashing, native=["proxy"])
    assert end_before_start(seen) is None
    words = "The sidecar 'proxy' keeps exiting, the last time with code 3."
    assert progress_of(seen, StartConditions(seen)).message == words
    assert containers_with_logs(seen) == ["proxy"]
    beside = pod(crashing, native=["proxy"], kernel=RUNNING)
    assert progress_of(beside, StartConditions(beside)).message.endswith(words)
    assert containers_with_logs(beside) == ["kernel", "proxy"]


def test_a_sidecar_that_is_not_ready_is_named():
    seen = pod(status("proxy", RUNNING, started=False), native=["proxy"])
    assert container_progress(seen) == (
        "The sidecar 'proxy' is still running, and its startup probe has not succeeded."
    )
    ready = pod(status("proxy", RUNNING, started=True), native=["proxy"])
    assert "acme/kernel:1" in container_progress(ready)
    assert sidecar_failures(ready) == []


def test_a_termination_message_is_part_of_the_failure():
    spoken = {"terminated": {"exitCode": 1, "message": "no such host\n" + "x" * 9000}}
    message = end_before_start(pod(status("clone", spoken))).message
    assert message.startswith("The init container 'clone' exited with code 1. no such host")
    assert len(message) < 1100
