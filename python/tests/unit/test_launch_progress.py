"""The steps of a start: bounded, followed by listeners, reported to administrators."""

import asyncio
import logging
from datetime import datetime, timezone

import pytest

from fake_clock import Clock
from gateway_provisioners.errors import ClusterError, LaunchFailed
from gateway_provisioners.kube.event_writer import EventWriter
from gateway_provisioners.model.launch_progress import MOST_STEPS, LaunchProgress, Phase, Stage
from gateway_provisioners.model.pod.conditions import StartConditions
from gateway_provisioners.model.pod.event import build_event
from gateway_provisioners.model.pod.progress import progress
from gateway_provisioners.provisioners import launch_report
from gateway_provisioners.provisioners.launch_report import LaunchReport

PULLING = Stage(Phase.PULLING, "The node is pulling the image 'acme/x:1'.")
CREATING = Stage(Phase.CREATING, "The node is still creating the container.")
METADATA = {"name": "p", "namespace": "kernels", "uid": "u"}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def steps(clock):
    return LaunchProgress(clock)


def test_a_step_lasts_until_another_one_begins(steps, clock):
    steps.enter(PULLING)
    clock.now += 40
    steps.enter(PULLING)
    assert steps.seconds_since(steps.current) == 40
    steps.enter(CREATING)
    assert [(step.number, step.since) for step in steps.steps] == [(1, 1000), (2, 1040)]
    steps.succeed()
    assert steps.current.stage.message == "The kernel is up after 40.0 s."
    steps.fail("Late", "It is over.")
    assert steps.current.stage.phase is Phase.READY


def test_the_last_steps_are_kept(steps):
    for number in range(10 * MOST_STEPS):
        steps.enter(Stage(Phase.PULLING, f"{number} {'x' * 10_000}"))
    steps.fail("ImagePull", "x" * 10**6)
    assert len(steps.steps) == MOST_STEPS
    assert steps.current.number == 10 * MOST_STEPS + 1
    assert len(steps.steps[0].stage.message) == 2048
    assert len(steps.current.stage.message) == 8000


def test_a_listener_that_was_removed_is_forgotten(steps):
    calls = []
    remove = steps.subscribe(lambda: calls.append(steps.current.stage))
    steps.enter(PULLING)
    remove()
    remove()
    steps.enter(CREATING)
    assert calls == [PULLING]
    assert steps._listeners == []


def pod(*, node="n1", ready="False", **states):
    """A pod whose containers are in these states."""
    statuses = [
        {"name": name, "image": f"acme/{name}:1", "state": state} for name, state in states.items()
    ]
    return {
        "metadata": METADATA,
        "spec": {"containers": [{"name": name} for name in states], "nodeName": node},
        "status": {
            "phase": "Pending",
            "conditions": [{"type": "PodReadyToStartContainers", "status": ready}],
            "containerStatuses": statuses,
        },
    }


CREATED = {"waiting": {"reason": "ContainerCreating"}}
RUNS = {"running": {}}


def pulls(container):
    """The kubelet's Event."""
    return {
        "type": "Normal",
        "reason": "Pulling",
        "message": f'Pulling image "acme/{container}:1"',
        "involvedObject": {"name": "p", "fieldPath": f"spec.containers{{{container}}}"},
    }


def test_a_pod_on_its_way():
    conditions = StartConditions()

    def phase_of(seen, event=None):
        conditions.see_pod(seen)
        if event:
            conditions.see_event(event)
        return progress(seen, conditions).phase

    assert progress({}, conditions).phase is Phase.REQUESTED
    assert phase_of(pod(node="", ready="Unknown")) is Phase.WAITING_FOR_NODE
    prepared = pod(kernel=CREATED, proxy=CREATED)
    assert phase_of(prepared) is Phase.PREPARING
    # Kubelets report that it is prepared only after the pull.
    assert phase_of(prepared, pulls("proxy")) is Phase.PULLING
    assert progress(prepared, conditions).message == "The node is pulling the image 'acme/proxy:1'."
    assert phase_of(pod(kernel=CREATED, proxy=RUNS)) is Phase.PREPARING
    assert phase_of(pod(kernel=CREATED, proxy=RUNS, ready="True")) is Phase.CREATING
    assert phase_of(pod(kernel=CREATED, proxy=RUNS), pulls("kernel")) is Phase.PULLING
    failed = {"waiting": {"reason": "ErrImagePull", "message": "i/o timeout"}}
    assert phase_of(pod(kernel=failed, proxy=RUNS)) is Phase.PULLING
    assert progress(pod(kernel=failed), conditions).reason == "ImagePull"
    assert phase_of(pod(kernel=RUNS, proxy=RUNS, ready="True")) is Phase.RUNNING


def test_a_pull_proves_that_the_volumes_are_there():
    conditions = StartConditions(pod(kernel=CREATED))
    conditions.see_event({"type": "Warning", "reason": "FailedMount", "message": "timed out"})
    assert conditions.present.reason == "VolumeNotReady"
    conditions.see_event(pulls("kernel"))
    assert conditions.present is None


def test_an_event_shows_a_step_and_a_failure():
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    event = build_event({"metadata": METADATA}, PULLING, now)
    assert (event["type"], event["reason"]) == ("Normal", "KernelStarting")
    assert event["message"] == PULLING.message
    assert event["involvedObject"]["uid"] == "u"
    assert event["lastTimestamp"] == "2026-01-02T03:04:05Z"
    failure = Stage(Phase.FAILED, "ü" * 5000, "ImagePull")
    event = build_event({"metadata": METADATA}, failure, now)
    assert (event["type"], event["reason"]) == ("Warning", "KernelFailed")
    assert event["message"].startswith("ImagePull: ü")
    assert len(event["message"].encode()) <= 1024


async def test_refused_events_are_logged_once_and_dropped(caplog):
    tried, done = [], asyncio.Event()

    async def create(event):
        tried.append(event)
        if event == 2:
            done.set()
        raise ClusterError("events is forbidden", status=403)

    writer = EventWriter(create)
    for event in range(3):
        writer.write(event)
    await done.wait()
    await writer.stop()
    assert tried == [0, 1, 2]
    assert caplog.text.count("is not written as Events: events is forbidden") == 1


async def test_many_events_at_once_are_bounded():
    writer = EventWriter(lambda _event: asyncio.Event().wait())
    for event in range(10_000):
        writer.write(event)
    assert len(writer._due) == 200
    await writer.stop()
    assert not writer._due


class Workload:
    """One that writes down what is announced of it."""

    def __init__(self):
        self.announced = []
        self.heard = asyncio.Event()

    def announce(self, stage):
        self.announced.append(stage)
        self.heard.set()


async def test_a_step_that_lasts_is_logged_and_announced(steps, monkeypatch, caplog):
    monkeypatch.setattr(launch_report, "LASTING_SECONDS", 0)
    caplog.set_level(logging.INFO)
    with LaunchReport(steps, "'python3' (id)") as report:
        report.workload = workload = Workload()
        steps.enter(CREATING)
        steps.enter(PULLING)
        await workload.heard.wait()
    assert workload.announced == [
        PULLING,
        Stage(Phase.READY, "The kernel is up after 0.0 s."),
    ]
    assert f"Kernel 'python3' (id) is starting. {PULLING.message}" in caplog.text
    assert "Kernel 'python3' (id): The kernel is up after 0.0 s." in caplog.text
    assert steps._listeners == []


async def test_a_quick_failure_is_announced_without_its_log(steps, caplog):
    caplog.set_level(logging.INFO)
    workload, failure = Workload(), LaunchFailed("ContainerExited", "It exited.")
    failure.log = "secrets of a user"
    steps.enter(PULLING)
    report = LaunchReport(steps, "'python3' (id)")
    report.workload = workload
    with pytest.raises(LaunchFailed), report:
        raise failure
    assert workload.announced == [Stage(Phase.FAILED, "It exited.", "ContainerExited")]
    assert caplog.text == ""
