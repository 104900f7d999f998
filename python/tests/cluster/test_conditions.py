"""Starts and restarts that have to wait for something, and causes that cannot pass, on a real cluster."""

import asyncio
import contextlib
import json
import uuid

import pytest
import pytest_asyncio

from ci.gateway_client import Refused
from message_words import unwrapped
from timeouts import eventually

MULTI_ATTACH = (
    "FailedAttachVolume",
    (
        'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node and can\'t '
        "be attached to another"
    ),
)
NO_DRIVER = (
    "FailedMount",
    (
        'MountVolume.MountDevice failed for volume "pvc-1" : kubernetes.io/csi: attacher.MountDevice failed '
        "to create newCsiDriverClient: driver name nfs.csi.example.com not found in the list of registered "
        "CSI drivers"
    ),
)
GATE = "acme/quota"
START = "exec tini -g -- /usr/local/bin/bootstrap-kernel.sh"


def template(*, command=None, **spec):
    container = {"name": "kernel"}
    if command:
        container["command"] = ["/bin/sh", "-c", command]
    return {"spec": {"containers": [{**container, **spec.pop("container", {})}], **spec}}


def with_claim(name):
    return template(
        volumes=[{"name": "home", "persistentVolumeClaim": {"claimName": name}}],
        container={"volumeMounts": [{"name": "home", "mountPath": "/mnt"}]},
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def kernels(chart):
    kernels = {
        "slow": template(command=f"sleep 4; {START}"),
        "silent": template(command="sleep 600"),
        "gated": template(schedulingGates=[{"name": GATE}]),
        "held": template(schedulingGates=[{"name": GATE}]),
        "secretive": template(container={"envFrom": [{"secretRef": {"name": "not-there"}}]}),
        "mounting": template(
            volumes=[{"name": "s", "secret": {"secretName": "not-there"}}],
            container={"volumeMounts": [{"name": "s", "mountPath": "/mnt"}]},
        ),
        "unclaimed": with_claim("not-there"),
    }
    # Long enough for what has to happen before them on a busy machine.
    timeouts = {"silent": 20, "held": 30}
    await chart.upgrade(
        {
            "kernels": {
                name: {
                    "image": chart.image,
                    "podTemplate": each,
                    "launchTimeout": timeouts.get(name, 60),
                }
                for name, each in kernels.items()
            }
        }
    )


@pytest.fixture(autouse=True)
async def nothing_remains(namespace, gateway):
    yield
    await namespace.wait_no_kernels()


async def refusal_of(start):
    with pytest.raises(Refused) as refusal:
        await start
    return refusal.value


@contextlib.asynccontextmanager
async def starting(gateway, namespace, name):
    """A start that has made its pod: the pod's name and the task."""
    start = asyncio.create_task(gateway.start(name))
    try:
        yield await pod_of_start(namespace), start
    finally:
        with contextlib.suppress(Refused):
            await gateway.delete(await start)


async def pod_of_start(namespace):
    found = []

    async def is_there():
        found[:] = await namespace.names("pods")
        return found

    await eventually(is_there)
    return found[0]


async def report(namespace, pod, event):
    """Report an Event about a pod, as the kubelet and the controllers do."""
    reason, message = event
    involved = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace.name, "name": pod}
    await namespace.run(
        *("create", "-f", "-"),
        stdin=json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"generateName": "try-", "namespace": namespace.name},
                "involvedObject": involved,
                "type": "Warning",
                "reason": reason,
                "message": message,
            }
        ),
    )


async def gates_of(namespace, pod):
    found = json.loads(await namespace.run("get", "pod", pod, "-o", "json"))
    return [gate["name"] for gate in found["spec"].get("schedulingGates", ())]


async def gated_pods(namespace):
    pods = await namespace.objects("pods")
    gates = {each["metadata"]["name"]: each["spec"].get("schedulingGates", ()) for each in pods}
    return [name for name, those in gates.items() if {"name": GATE} in those]


async def lift(namespace, pod):
    path = f"/spec/schedulingGates/{(await gates_of(namespace, pod)).index(GATE)}"
    patch = [
        {"op": "test", "path": f"{path}/name", "value": GATE},
        {"op": "remove", "path": path},
    ]
    await namespace.run("patch", "pod", pod, "--type=json", "-p", json.dumps(patch))


@pytest.mark.parametrize("event", [MULTI_ATTACH, NO_DRIVER], ids=lambda event: event[0])
async def test_a_volume_that_is_not_ready_yet_ends_no_start(gateway, namespace, event):
    async with starting(gateway, namespace, "slow") as (pod, start):
        await report(namespace, pod, event)
        kernel_id = await start
        async with gateway.channels(kernel_id) as kernel:
            assert (await kernel.execute("print(6 * 7)")).text == "42\n"


async def test_a_time_out_names_the_volume(gateway, namespace):
    async with starting(gateway, namespace, "silent") as (pod, start):
        await report(namespace, pod, MULTI_ATTACH)
        refusal = await refusal_of(start)
    assert 'Multi-Attach error for volume "pvc-1"' in unwrapped(refusal.message)
    assert "20 seconds" in unwrapped(refusal.message)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("secretive", "ContainerCannotRun"),
        ("mounting", "VolumeMissing"),
        ("unclaimed", "Unschedulable"),
    ],
)
async def test_a_missing_object_is_reported_at_once(gateway, name, reason):
    refusal = await refusal_of(gateway.start(name))
    assert refusal.reason == reason
    assert "not-there" in refusal.message
    assert "did not start within" not in unwrapped(refusal.message)


async def test_a_gate_that_is_lifted_later(gateway, namespace, chart):
    async with starting(gateway, namespace, "gated") as (pod, start):

        async def is_reported():
            log = await namespace.run("logs", f"deployment/{chart.fullname}")
            return "is starting. A scheduling gate holds the kernel back" in log

        await eventually(is_reported)
        await lift(namespace, pod)
        async with gateway.channels(await start) as kernel:
            assert (await kernel.execute("print(6 * 7)")).text == "42\n"


async def events_of(namespace, reason, pod=None):
    """Return the gateway's Events of that reason, about all pods or one."""
    events = json.loads(await namespace.run("get", "events", "--output=json"))
    return [
        event
        for event in events["items"]
        if event["reportingComponent"] == "gateway-provisioners"
        and event["reason"] == reason
        and pod in (None, event["involvedObject"]["name"])
    ]


async def test_the_steps_of_a_start_are_followed(gateway, namespace):
    kernel_id = str(uuid.uuid4())
    body = {"name": "gated", "kernel_id": kernel_id}
    start = asyncio.create_task(gateway.request("POST", "/api/kernels", body))
    [pod] = await eventually(lambda: gated_pods(namespace))
    steps = []
    async with contextlib.aclosing(gateway.progress(kernel_id)) as events:
        async for event in events:
            if event["phase"] not in steps:
                steps.append(event["phase"])
            if event.get("reason") == "SchedulingGated" and "waiting" not in steps:
                assert not start.done()
                # The step lasts, so the same words are an Event.
                shown = await eventually(lambda: events_of(namespace, "KernelStarting", pod))
                assert shown[-1]["message"] == f"SchedulingGated: {event['message']}"
                await lift(namespace, pod)
                steps.append("waiting")
    await start
    assert event["ready"]
    order = ["requested", "waiting-for-node", "waiting"]
    assert [step for step in steps if step in order] == order
    assert steps[-1] == "ready"
    assert "reported" in steps
    [started] = await eventually(lambda: events_of(namespace, "KernelStarted", pod))
    assert started["type"] == "Normal"
    described = await namespace.run("describe", "pod", pod)
    assert "KernelStarted" in described
    await gateway.request("DELETE", f"/api/kernels/{kernel_id}")


async def test_a_start_that_fails_has_an_event_with_the_cause(gateway, namespace):
    kernel_id = str(uuid.uuid4())
    body = {"name": "secretive", "kernel_id": kernel_id}
    await refusal_of(gateway.request("POST", "/api/kernels", body))

    async def failed():
        events = await events_of(namespace, "KernelFailed")
        return [event for event in events if kernel_id in event["involvedObject"]["name"]]

    [event] = await eventually(failed)
    assert event["type"] == "Warning"
    assert event["message"].startswith("ContainerCannotRun: ")
    assert "not-there" in event["message"]


async def test_a_gate_that_is_lifted_at_once(gateway, namespace):
    """Perhaps before the gateway opens its own: the patch must not add it again."""
    async with starting(gateway, namespace, "gated") as (pod, start):
        await lift(namespace, pod)
        assert await start


async def test_a_gate_that_is_never_lifted(gateway):
    refusal = await refusal_of(gateway.start("held"))
    assert refusal.reason == "SchedulingGated"
    assert "30 seconds" in unwrapped(refusal.message)
    assert repr(GATE) in refusal.message


async def test_a_restart_that_has_to_wait_is_tried_again(gateway, namespace):
    async with starting(gateway, namespace, "held") as (pod, start):
        await lift(namespace, pod)
        kernel_id = await start
        assert (await refusal_of(gateway.restart(kernel_id))).reason == "SchedulingGated"
        model = (await gateway.kernels())[kernel_id]
        assert model["execution_state"] == "restarting"
        assert repr(GATE) in model["reason"]

        async def is_running():
            for name in await gated_pods(namespace):
                await lift(namespace, name)
            return (await gateway.kernels())[kernel_id]["execution_state"] != "restarting"

        await eventually(is_running)
        async with gateway.channels(kernel_id) as kernel:
            assert (await kernel.execute("print(6 * 7)")).text == "42\n"


@pytest_asyncio.fixture(loop_scope="session")
async def slot(kubectl, namespace):
    """A resource of the node, of which there is one piece: other tests do not need it."""
    name = f"{namespace.name}.example.com/slot"
    [node, *_] = (await kubectl.get("nodes"))["items"]
    paths = [f"/status/{place}/{name.replace('/', '~1')}" for place in ("capacity", "allocatable")]

    async def patch(*changes):
        command = ("patch", "node", node["metadata"]["name"], "--subresource=status", "--type=json")
        await kubectl(*command, "-p", json.dumps(changes))

    await patch(*({"op": "add", "path": path, "value": "1"} for path in paths))
    try:
        yield name
    finally:
        await patch(*({"op": "remove", "path": path} for path in paths))


@pytest_asyncio.fixture(loop_scope="session")
async def placeholder(kubectl, namespace, chart, slot):
    """A pod of low priority that has the slot; yields its name."""
    name = f"{namespace.name}-placeholder"
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "p",
        "image": chart.image,
        "command": ["sleep", "inf"],
        "securityContext": security,
        "resources": {"limits": {slot: "1"}},
    }
    pod = {"priorityClassName": name, "terminationGracePeriodSeconds": 1, "containers": [container]}
    await kubectl.apply(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": -10,
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace.name},
            "spec": pod,
        },
    )
    try:
        await namespace.run("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        yield name
    finally:
        await namespace.run("delete", "pod", name, "--ignore-not-found")
        await kubectl("delete", "priorityclass", name)


async def test_a_kernel_takes_the_place_of_a_placeholder(
    gateway, namespace, chart, slot, placeholder
):
    """With default values."""
    needs = template(container={"resources": {"limits": {slot: "1"}}})
    await chart.upgrade({"kernels": {"needy": {"image": chart.image, "podTemplate": needs}}})
    async with chart.gateway() as gateway, gateway.kernel("needy") as kernel:
        assert (await kernel.execute("print(6 * 7)")).text == "42\n"
        await namespace.run("wait", "--for=delete", f"pod/{placeholder}", "--timeout=60s")
        refusal = await refusal_of(gateway.start("needy"))
        assert refusal.reason == "Unschedulable"
