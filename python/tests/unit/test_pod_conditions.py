"""Every row of the table of conditions, with messages as Kubernetes and its runtimes write them."""

import pytest

from gateway_provisioners.model.condition import Kind
from gateway_provisioners.model.pod import condition_table as table
from gateway_provisioners.model.pod.conditions import StartConditions
from gateway_provisioners.model.pod.progress import progress

FINAL, PASSING, AWAITED = Kind.FINAL, Kind.PASSING, Kind.AWAITED
PULL = (
    'failed to pull and unpack image "r.example/a:1": failed to resolve reference "r.example/a:1": '
)
REQUEST = f'{PULL}failed to do request: Head "https://r.example/v2/a/manifests/1": '
STATUS = f"{PULL}unexpected status from HEAD request to https://r.example/v2/a/manifests/1: "
TASK = "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
EXEC = f"{TASK}runc create failed: unable to start container process: "
MOUNT = 'MountVolume.SetUp failed for volume "data" : '
NODES = "0/2 nodes are available: "
NOT_HELPFUL = (
    " preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
)

WAITING = [
    ("InvalidImageName", 'couldn\'t parse image name "A:1": invalid reference format', FINAL),
    ("ErrImageNeverPull", 'Container image "a:1" is not present with pull policy of Never', FINAL),
    ("SignatureValidationFailed", "image pull failed for a:1 because the signature ...", FINAL),
    (
        "RegistryUnavailable",
        "image pull failed for a:1 because the registry is unavailable",
        PASSING,
    ),
    ("ImageInspectError", 'Failed to inspect image "a:1": rpc error: code = Unknown', PASSING),
    ("ErrImagePull", f"{STATUS}429 Too Many Requests", PASSING),
    ("ErrImagePull", "toomanyrequests: You have reached your pull rate limit.", PASSING),
    ("ErrImagePull", "pull QPS exceeded", PASSING),
    ("ErrImagePull", f"{REQUEST}dial tcp: lookup r.example on 10.0.0.10:53: no such host", PASSING),
    ("ErrImagePull", f"{REQUEST}dial tcp 10.0.0.1:443: i/o timeout", PASSING),
    ("ErrImagePull", f"{REQUEST}dial tcp 10.0.0.1:443: connect: connection refused", PASSING),
    ("ErrImagePull", f"{REQUEST}dial udp 10.0.0.1:53: connect: network is unreachable", PASSING),
    ("ErrImagePull", f"{REQUEST}EOF", PASSING),
    ("ErrImagePull", f"{STATUS}503 Service Unavailable", PASSING),
    ("ErrImagePull", f"{STATUS}500 Internal Server Error", PASSING),
    ("ErrImagePull", f"{PULL}r.example/a:1: not found", FINAL),
    ("ErrImagePull", "reading manifest 1 in r.example/a: manifest unknown", FINAL),
    ("ErrImagePull", "name unknown: The repository with name 'a' does not exist", FINAL),
    ("ErrImagePull", f"{PULL}no match for platform in manifest: not found", FINAL),
    ("ErrImagePull", "no matching manifest for linux/arm64 in the manifest list entries", FINAL),
    (
        "ErrImagePull",
        (
            f"{PULL}pull access denied, repository does not exist or may require authorization: server "
            "message: insufficient_scope: authorization failed"
        ),
        FINAL,
    ),
    (
        "ErrImagePull",
        (
            f"{PULL}failed to authorize: failed to fetch anonymous token: unexpected status from GET "
            "request to https://r.example/token: 401 Unauthorized"
        ),
        FINAL,
    ),
    (
        "ErrImagePull",
        (
            f"{PULL}failed to authorize: failed to fetch anonymous token: Get "
            '"https://r.example/token": dial tcp 10.0.0.1:443: i/o timeout'
        ),
        PASSING,
    ),
    ("ErrImagePull", f"{STATUS}403 Forbidden", FINAL),
    ("ErrImagePull", "unauthorized: authentication required", FINAL),
    ("ErrImagePull", "denied: Your authorization token has expired. Reauthenticate", FINAL),
    ("ErrImagePull", "no basic auth credentials", FINAL),
    ("ErrImagePull", f"{REQUEST}x509: certificate signed by unknown authority", FINAL),
    ("ErrImagePull", f"{REQUEST}http: server gave HTTP response to HTTPS client", FINAL),
    ("ErrImagePull", "failed to extract layer: no space left on device", PASSING),
    ("ErrImagePull", "something new", PASSING),
    (
        "ImagePullBackOff",
        f'Back-off pulling image "a:1": ErrImagePull: {PULL}a:1: not found',
        FINAL,
    ),
    ("ImagePullBackOff", 'Back-off pulling image "a:1": ErrImagePull: i/o timeout', PASSING),
    ("ImagePullBackOff", 'Back-off pulling image "a:1"', PASSING),
    ("CreateContainerConfigError", 'secret "missing" not found', FINAL),
    ("CreateContainerConfigError", 'configmap "missing" not found', FINAL),
    ("CreateContainerConfigError", "couldn't find key k in Secret kernels/s", FINAL),
    ("CreateContainerConfigError", "couldn't find key k in ConfigMap kernels/c", FINAL),
    (
        "CreateContainerConfigError",
        'container has runAsNonRoot and image will run as root (pod: "p", container: kernel)',
        FINAL,
    ),
    (
        "CreateContainerConfigError",
        'container\'s runAsUser breaks non-root policy (pod: "p", container: kernel)',
        FINAL,
    ),
    (
        "CreateContainerConfigError",
        "failed to sync secret cache: timed out waiting for the condition",
        PASSING,
    ),
    ("CreateContainerConfigError", 'object "kernels"/"data" not registered', PASSING),
    (
        "CreateContainerConfigError",
        "services have not yet been read at least once, cannot construct envvars",
        PASSING,
    ),
    ("CreateContainerError", "context deadline exceeded", PASSING),
    ("CreateContainerError", 'failed to reserve container name "a": name "a" is reserved', PASSING),
    ("CreateContainerError", "failed to generate spec: no command specified", FINAL),
    ("CreateContainerError", "unable to find user jovyan: no matching entries in passwd", FINAL),
    ("RunContainerError", f'{EXEC}exec: "a": executable file not found in $PATH: unknown', FINAL),
    ("RunContainerError", f'{EXEC}exec: "/a": stat /a: no such file or directory: unknown', FINAL),
    ("RunContainerError", f'{EXEC}exec: "/a": permission denied: unknown', FINAL),
    ("RunContainerError", f"{TASK}crun: executable file `a` not found in $PATH", FINAL),
    ("RunContainerError", f"{EXEC}exec /a: exec format error", FINAL),
    ("PostStartHookError", "", PASSING),
]

EVENTS = [
    ("FailedMount", f'{MOUNT}configmap "not-there" not found', FINAL),
    ("FailedMount", f'{MOUNT}secret "not-there" not found', FINAL),
    ("FailedMount", f'{MOUNT}[configmap "a" not found, secret "b" not found]', FINAL),
    (
        "FailedMount",
        (
            "Unable to attach or mount volumes: unmounted volumes=[home], unattached volumes=[], failed to "
            "process volumes=[home]: error processing PVC kernels/home: failed to fetch PVC from API "
            'server: persistentvolumeclaims "home" not found'
        ),
        FINAL,
    ),
    ("FailedMount", f"{MOUNT}references non-existent secret key: k", FINAL),
    ("FailedMount", f"{MOUNT}configmap references non-existent config key: k", FINAL),
    ("FailedMount", f"{MOUNT}hostPath type check failed: /data is not a directory", FINAL),
    (
        "FailedMount",
        f"{MOUNT}failed to sync configmap cache: timed out waiting for the condition",
        PASSING,
    ),
    ("FailedMount", f'{MOUNT}object "kernels"/"data" not registered', PASSING),
    (
        "FailedMount",
        (
            f'{MOUNT}secrets "data" is forbidden: User "system:node:n" cannot get resource "secrets" in API '
            'group "" in the namespace "kernels": no relationship found between node \'n\' and this object'
        ),
        PASSING,
    ),
    (
        "FailedMount",
        (
            'MountVolume.MountDevice failed for volume "pvc-1" : kubernetes.io/csi: attacher.MountDevice '
            "failed to create newCsiDriverClient: driver name nfs.csi.example.com not found in the list of "
            "registered CSI drivers"
        ),
        PASSING,
    ),
    (
        "FailedMount",
        (
            "Unable to attach or mount volumes: unmounted volumes=[home], unattached volumes=[home]: timed "
            "out waiting for the condition"
        ),
        PASSING,
    ),
    (
        "FailedMount",
        "Unable to attach or mount volumes: error processing PVC kernels/home: PVC is not bound",
        PASSING,
    ),
    ("FailedMount", f"{MOUNT}mount failed: exit status 32", PASSING),
    (
        "FailedAttachVolume",
        (
            'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node and '
            "can't be attached to another"
        ),
        PASSING,
    ),
    (
        "FailedAttachVolume",
        'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) alice-1',
        PASSING,
    ),
    (
        "FailedAttachVolume",
        (
            'AttachVolume.Attach failed for volume "pvc-1" : timed out waiting for external-attacher of '
            "disk.csi.example.com CSI driver to attach volume v"
        ),
        PASSING,
    ),
    (
        "FailedAttachVolume",
        'AttachVolume.Attach failed for volume "pvc-1" : CSINode n does not contain driver d',
        PASSING,
    ),
    ("FailedMapVolume", "MapVolume.MapPodDevice failed", PASSING),
    (
        "FailedCreatePodSandBox",
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for "
            'sandbox "s": plugin type="calico" failed (add): error getting ClusterInformation'
        ),
        PASSING,
    ),
    (
        "FailedCreatePodSandBox",
        (
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: "
            'no runtime for "gvisor" is configured'
        ),
        FINAL,
    ),
    (
        "NetworkNotReady",
        (
            "network is not ready: container runtime network not ready: NetworkReady=false "
            "reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"
        ),
        PASSING,
    ),
    ("FailedCreatePodContainer", "unable to ensure pod container exists", PASSING),
    ("FailedPrepareDynamicResources", "Failed to prepare dynamic resources", PASSING),
    ("FailedPodSandBoxStatus", "Unable to get pod sandbox status", PASSING),
    ("FailedSync", "error determining status: rpc error", PASSING),
]

SCHEDULING = [
    (f"{NODES}pod has unbound immediate PersistentVolumeClaims.", PASSING),
    (
        (
            f"{NODES}waiting for ephemeral volume controller to create the persistentvolumeclaim "
            '"p-scratch".'
        ),
        PASSING,
    ),
    (f'{NODES}persistentvolumeclaim "home" not found.{NOT_HELPFUL}', FINAL),
    (
        (
            f"{NODES}2 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
            "already in-use by another pod."
        ),
        PASSING,
    ),
    (
        (
            f"{NODES}2 Insufficient cpu. preemption: not eligible due to a terminating pod on the nominated "
            "node."
        ),
        AWAITED,
    ),
    ("waiting for the preemption for this pod to be finished", AWAITED),
    (f"{NODES}2 Insufficient cpu.{NOT_HELPFUL}", FINAL),
    (
        (
            f"{NODES}2 node(s) had untolerated taint(s). preemption: 0/2 nodes are available: 2 Preemption "
            "is not helpful for scheduling."
        ),
        FINAL,
    ),
    ("no nodes available to schedule pods", FINAL),
]


def pod(*, waiting=(), image="r.example/a:1", scheduled=None, gates=(), **status):
    if waiting:
        reason, message = waiting
        state = {"waiting": {"reason": reason, "message": message}}
        status["containerStatuses"] = [{"name": "kernel", "image": image, "state": state}]
    if scheduled:
        reason, message = scheduled
        condition = {"type": "PodScheduled", "status": "False", "reason": reason}
        status["conditions"] = [{**condition, "message": message}]
    spec = {
        "containers": [{"name": "kernel", "resources": {"requests": {"cpu": "64"}}}],
        "schedulingGates": [{"name": name} for name in gates],
    }
    return {"metadata": {"name": "p"}, "spec": spec, "status": status}


def event(reason, message, kind="Warning", path="spec.containers{kernel}"):
    involved = {"kind": "Pod", "name": "p", "fieldPath": path}
    return {"type": kind, "reason": reason, "message": message, "involvedObject": involved}


def unschedulable(message=f"{NODES}2 Insufficient cpu.", **status):
    return pod(scheduled=("Unschedulable", message), **status)


def after(*events, of=None):
    conditions = StartConditions(of or pod())
    for each in events:
        conditions.see_event(each)
    return conditions


def check(found, message, kind):
    assert found.kind is kind
    assert message.rstrip(".") in found.case
    assert found.failure().reason == found.reason
    assert str(found).endswith((".", "?"))


@pytest.mark.parametrize(("word", "message", "kind"), WAITING)
def test_waiting_containers(word, message, kind):
    conditions = StartConditions(pod(waiting=(word, message)))
    check(conditions.present, message, kind)
    failure = conditions.failure(unschedulable_is_final=True)
    assert (failure is not None) is (kind is FINAL)


@pytest.mark.parametrize(("word", "message", "kind"), EVENTS)
def test_events(word, message, kind):
    conditions = after(event(word, message))
    check(conditions.present, message, kind)
    failure = conditions.failure(unschedulable_is_final=True)
    assert (failure is not None) is (kind is FINAL)


@pytest.mark.parametrize(("message", "kind"), SCHEDULING)
def test_messages_of_the_scheduler(message, kind):
    check(StartConditions(unschedulable(message)).present, message, kind)


def test_every_row_has_a_message():
    rows = {
        *(table.find([*table.IMAGES, *table.CONTAINERS], *case[:2]) for case in WAITING),
        *(table.find(table.EVENTS, *case[:2]) for case in EVENTS),
        *(table.find(table.SCHEDULING, "Unschedulable", case[0]) for case in SCHEDULING),
    }
    assert rows == {*table.IMAGES, *table.CONTAINERS, *table.EVENTS, *table.SCHEDULING}


def test_every_word_has_a_message():
    known = {word for word, *_ in WAITING + EVENTS}
    words = {word for row in (*table.IMAGES, *table.EVENTS) for word in row.words}
    assert words <= known


def test_the_volume_and_the_remedy_are_named():
    case = EVENTS[[kind for _, _, kind in EVENTS].index(PASSING)]
    multi_attach = next(each for each in EVENTS if "exclusively" in each[1])
    driver = next(each for each in EVENTS if "registered CSI" in each[1])
    remedies = {after(event(*each[:2])).present.remedy for each in (case, multi_attach, driver)}
    assert len(remedies) == 3
    found = after(event(*multi_attach[:2])).present
    assert 'volume "pvc-1"' in found.case
    assert found.reason == "VolumeNotReady"


@pytest.mark.parametrize("word", ["SomethingNew", "DNSConfigForming"])
def test_an_unknown_event_is_only_reported(word):
    conditions = after(event(word, "It may not matter"))
    assert conditions.present is None
    assert f"{word}: It may not matter." in progress(pod(), conditions).message


def test_an_unknown_reason_of_a_container_is_no_obstacle():
    assert StartConditions(pod(waiting=("SomethingNew", "x"))).present is None


@pytest.mark.parametrize(
    ("cause", "kind"), [("a:1: not found", FINAL), ("dial tcp 10.0.0.1:443: i/o timeout", PASSING)]
)
def test_an_old_kubelet_hides_the_cause_of_a_back_off(cause, kind):
    back_off = pod(waiting=("ImagePullBackOff", 'Back-off pulling image "a:1"'))
    conditions = StartConditions(pod(waiting=("ErrImagePull", cause)))
    conditions.see_pod(back_off)
    check(conditions.present, cause, kind)
    failed = event("Failed", f'Failed to pull image "a:1": {cause}')
    check(after(failed, of=back_off).present, cause, kind)


def test_a_volume_that_is_mounted_is_an_obstacle_no_longer():
    conditions = after(event("FailedAttachVolume", "Multi-Attach error"))
    ready = {"type": "PodReadyToStartContainers", "status": "True"}
    conditions.see_pod(pod(conditions=[ready], waiting=("ContainerCreating", "")))
    assert conditions.present is None
    conditions.see_pod(pod(containerStatuses=[{"name": "kernel", "state": {"running": {}}}]))
    assert conditions.present is None
    words = progress(
        pod(containerStatuses=[{"name": "kernel", "state": {"running": {}}}]), conditions
    ).message
    assert "launcher" in words
    assert "Before that: A volume is not ready: Multi-Attach error." in words


def test_no_node_is_final_without_a_sign_of_one():
    conditions = StartConditions(unschedulable())
    assert conditions.is_unschedulable
    assert conditions.failure(unschedulable_is_final=False) is None
    failure = conditions.failure(unschedulable_is_final=True)
    assert failure.reason == "Unschedulable"
    assert "It asks for cpu 64." in failure.message


def test_a_missing_claim_is_final_at_once():
    conditions = StartConditions(unschedulable(f'{NODES}persistentvolumeclaim "home" not found.'))
    assert not conditions.is_unschedulable
    assert conditions.failure(unschedulable_is_final=False).reason == "Unschedulable"


@pytest.mark.parametrize(
    ("seen", "events", "sign"),
    [
        (unschedulable(nominatedNodeName="node-7"), [], "node-7"),
        (
            unschedulable(),
            [event("TriggeredScaleUp", "pod triggered scale-up: [{pool 1->2 (max: 9)}]", "Normal")],
            "scale-up: [{pool 1->2 (max: 9)}]",
        ),
        (
            unschedulable(),
            [event("Nominated", "Pod should schedule on: nodeclaim/n", "Normal")],
            "nodeclaim/n",
        ),
    ],
)
def test_a_sign_of_a_node_to_come(seen, events, sign):
    conditions = after(*events, of=seen)
    assert not conditions.is_unschedulable
    assert conditions.failure(unschedulable_is_final=True) is None
    assert (conditions.present.kind, conditions.present.reason) == (AWAITED, "WaitingForNode")
    assert sign in conditions.present.case
    conditions.see_pod(pod(conditions=[{"type": "PodScheduled", "status": "True"}]))
    assert conditions.present is None


def test_the_autoscalers_refusal_is_reported_with_the_schedulers():
    advice = "pod didn't trigger scale-up: 1 max node group size reached"
    conditions = after(event("NotTriggerScaleUp", advice, "Normal"), of=unschedulable())
    failure = conditions.failure(unschedulable_is_final=True)
    assert "Insufficient cpu" in failure.message
    assert f"{advice}." in failure.message


def test_another_error_of_the_scheduler_can_pass():
    found = StartConditions(pod(scheduled=("SchedulerError", "binding failed"))).present
    assert (found.kind, found.reason) == (PASSING, "WaitingForNode")
    assert "binding failed" in found.case


def test_a_gate_of_another_party_is_awaited():
    own = "gateway-provisioners/secret"
    gated = ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")
    assert StartConditions(pod(gates=[own], scheduled=gated)).present is None
    assert StartConditions(pod(scheduled=gated)).present is None
    kueue = "kueue.x-k8s.io/admission"
    found = StartConditions(pod(gates=[own, kueue], scheduled=gated)).present
    assert (found.kind, found.reason) == (AWAITED, "SchedulingGated")
    assert repr(kueue) in found.case
    assert own not in found.case


def test_the_most_severe_condition_is_named():
    kernel = {"name": "kernel", "state": {"waiting": {"reason": "ErrImagePull", "message": "EOF"}}}
    other = {"name": "b", "state": {"waiting": {"reason": "InvalidImageName"}}}
    seen = pod(containerStatuses=[kernel, other])
    assert StartConditions(seen).present.kind is FINAL


def test_messages_are_bounded_and_are_no_templates():
    conditions = after(event("FailedMount", "{word} " + "x" * 100_000))
    assert len(str(conditions.present)) < 5000
    assert "{word}" in conditions.present.case
