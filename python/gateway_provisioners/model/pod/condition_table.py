"""The meaning of Kubernetes' words for a Pod that is not up yet: a table of patterns, in order.

Each group of rows names the source of its words, as of Kubernetes 1.34 and containerd 2; older and other
ones are noted. The first row that fits counts. Words that are in no row can pass: the cluster tries again,
and the launch timeout is the end of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway_provisioners.model.condition import Kind
from gateway_provisioners.model.failures import IMAGE_CASE, IMAGE_REMEDY


@dataclass(frozen=True)
class Explanation:
    """The condition behind some words, for the user.

    Attributes:
        reason: as of `Condition`.
        case: a template, in which {message} is the cluster's sentence, {word} its word for it, and {image}
            the container's image.
    """

    reason: str
    case: str
    remedy: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        words: the reasons of a waiting container or of an Event that it is about.
        pattern: found in the message; without regard to case.
    """

    words: frozenset[str]
    pattern: re.Pattern[str]
    kind: Kind
    explanation: Explanation


def _row(words: Iterable[str], pattern: str, kind: Kind, explanation: Explanation) -> Row:
    return Row(frozenset(words), re.compile(pattern, re.IGNORECASE), kind, explanation)


def find(rows: Sequence[Row], word: str, message: str) -> Row | None:
    """Return the first row for the word and message; None if the table does not know the word."""
    return next((row for row in rows if word in row.words and row.pattern.search(message)), None)


# Images: the kubelet's reasons (pkg/kubelet/images/types.go, k8s.io/cri-api/pkg/errors/errors.go), with the
# messages of the container runtime.

_PULL = ("ErrImagePull", "ImagePullBackOff")
_IMAGE_WRONG = Explanation("ImagePull", IMAGE_CASE, IMAGE_REMEDY.replace("{puller}", "the cluster"))
_REGISTRY_AWAY = Explanation(
    "ImagePull", IMAGE_CASE, "Try again later, and check that the nodes reach the registry."
)
_REGISTRY_LIMITS = Explanation(
    "ImagePull",
    IMAGE_CASE,
    "The registry limits pulls: try again later, or have the image in a registry of your own.",
)

IMAGES: Sequence[Row] = (
    _row(("InvalidImageName",), "", Kind.FINAL, _IMAGE_WRONG),
    _row(("ErrImageNeverPull",), "", Kind.FINAL, _IMAGE_WRONG),
    _row(("SignatureValidationFailed",), "", Kind.FINAL, _IMAGE_WRONG),
    _row(("RegistryUnavailable",), "", Kind.PASSING, _REGISTRY_AWAY),
    _row(("ImageInspectError",), "", Kind.PASSING, _REGISTRY_AWAY),
    # Registries: Docker Hub's `toomanyrequests`, and HTTP 429. The kubelet: pkg/kubelet/images/helpers.go.
    _row(
        _PULL,
        r"\b429\b|too ?many ?requests|rate limit|pull QPS exceeded",
        Kind.PASSING,
        _REGISTRY_LIMITS,
    ),
    # Go's net and net/http, and HTTP 5xx.
    _row(
        _PULL,
        r"no such host|server misbehaving|name resolution|i/o timeout|timed? ?out|deadline exceeded"
        r"|connection (refused|reset)|unreachable|no route to host|\bEOF\b|broken pipe"
        r"|\b50[0-4] (Internal|Not Impl|Bad Gat|Service|Gateway)",
        Kind.PASSING,
        _REGISTRY_AWAY,
    ),
    # containerd: core/remotes/docker/{resolver,authorizer,fetcher}.go. CRI-O and registries: the error codes
    # of the distribution API (MANIFEST_UNKNOWN, NAME_UNKNOWN, UNAUTHORIZED, DENIED).
    _row(_PULL, r"\bnot found\b|(manifest|name) unknown", Kind.FINAL, _IMAGE_WRONG),
    _row(_PULL, r"no match(ing manifest)? for ", Kind.FINAL, _IMAGE_WRONG),
    _row(
        _PULL,
        r"\b40[13] (Unauthorized|Forbidden)|unauthorized|authentication required|access denied|\bdenied\b"
        r"|insufficient_scope|authorization failed|no basic auth credentials",
        Kind.FINAL,
        _IMAGE_WRONG,
    ),
    _row(
        _PULL,
        r"invalid reference format|failed to parse image reference|x509:|HTTP response to HTTPS client",
        Kind.FINAL,
        _IMAGE_WRONG,
    ),
    _row(_PULL, "", Kind.PASSING, _REGISTRY_AWAY),
)

# Containers: the kubelet's reasons (pkg/kubelet/kuberuntime/kuberuntime_container.go, pkg/kubelet/container/
# sync_result.go), with its own messages and those of the container runtime.

_CREATE = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PreCreateHookError",
    "PreStartHookError",
    "PostStartHookError",
)
_CANNOT_RUN = Explanation(
    "ContainerCannotRun", "The kernel's container cannot be created ({word}): {message}"
)
_NOT_CREATED = Explanation(
    "NodeNotReady",
    "The kernel's container could not be created so far ({word}): {message}",
    "Try again later; if that does not help, have the node checked.",
)
# pkg/kubelet/util/manager/{watch,cache}_based_manager.go: an existing Secret or ConfigMap is not read yet.
_NOT_READ_YET = r"failed to sync|not registered|no relationship found between node"

CONTAINERS: Sequence[Row] = (
    _row(_CREATE, _NOT_READ_YET, Kind.PASSING, _NOT_CREATED),
    # pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables.
    _row(_CREATE, r"(secret|configmap)s? \"[^\"]*\" not found", Kind.FINAL, _CANNOT_RUN),
    _row(_CREATE, r"couldn't find key ", Kind.FINAL, _CANNOT_RUN),
    # pkg/kubelet/kuberuntime/security_context_others.go, verifyRunAsNonRoot.
    _row(_CREATE, r"runAsNonRoot|breaks non-root policy", Kind.FINAL, _CANNOT_RUN),
    # runc and crun; containerd: pkg/oci/spec_opts.go, internal/cri/server/container_create.go.
    _row(
        _CREATE,
        r"executable file |exec: \"|exec format error|no command specified|unable to find (user|group) "
        r"|no users found|no such file or directory: unknown",
        Kind.FINAL,
        _CANNOT_RUN,
    ),
    _row(_CREATE, "", Kind.PASSING, _NOT_CREATED),
)

# Events: volumes. The kubelet (pkg/kubelet/kubelet.go, pkg/volume/*, pkg/volume/util/operationexecutor), CSI
# (pkg/volume/csi), the attach-detach controller (pkg/controller/volume/attachdetach/reconciler).

_VOLUME = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
_VOLUME_MISSING = Explanation(
    "VolumeMissing",
    "A volume cannot be mounted: {message}",
    "Check that the claim, Secret or ConfigMap exists in the kernels' namespace.",
)
_VOLUME_CASE = "A volume is not ready: {message}"
_VOLUME_SLOW = Explanation(
    "VolumeNotReady",
    _VOLUME_CASE,
    "The cluster tries again by itself: start the kernel again in a few minutes. If that does not help, have "
    "the volume and its storage driver checked.",
)
_VOLUME_ELSEWHERE = Explanation(
    "VolumeNotReady",
    _VOLUME_CASE,
    "It is free when the pod on the other node is gone and the volume is detached there: shut down kernels "
    "that use it, and start this one again in a few minutes.",
)
_DRIVER_AWAY = Explanation(
    "VolumeNotReady",
    _VOLUME_CASE,
    "The storage driver is not ready on the node, which may be new: start the kernel again in a few minutes. "
    "If that does not help, have the driver's pod on that node checked.",
)
_CLAIM_UNBOUND = Explanation(
    "VolumeNotReady",
    _VOLUME_CASE,
    "Look at the events of the claim, and at its StorageClass.",
)

# Events: sandboxes. The kubelet (pkg/kubelet/events/event.go), with the network plugin's messages.

_SANDBOX = (
    "FailedCreatePodSandBox",
    "FailedPodSandBoxStatus",
    "FailedCreatePodContainer",
    "FailedPrepareDynamicResources",
    "FailedSync",
    "NetworkNotReady",
)
_SANDBOX_SLOW = Explanation(
    "NodeNotReady",
    "The node could not prepare the pod so far ({word}): {message}",
    "Try again later; if that does not help, have the node and its network plugin checked.",
)
_NO_RUNTIME = Explanation(
    "ContainerCannotRun",
    "The node cannot run the pod ({word}): {message}",
    "Check the kernel's RuntimeClass, and which nodes support it.",
)

EVENTS: Sequence[Row] = (
    _row(_VOLUME, _NOT_READ_YET, Kind.PASSING, _VOLUME_SLOW),
    _row(
        _VOLUME,
        r"(secret|configmap|persistentvolumeclaim)s? \"[^\"]*\" not found",
        Kind.FINAL,
        _VOLUME_MISSING,
    ),
    _row(_VOLUME, r"references non-existent ", Kind.FINAL, _VOLUME_MISSING),
    _row(_VOLUME, r"hostPath type check failed", Kind.FINAL, _VOLUME_MISSING),
    _row(_VOLUME, r"Multi-Attach error", Kind.PASSING, _VOLUME_ELSEWHERE),
    _row(
        _VOLUME,
        r"not found in the list of registered CSI drivers|does not contain driver|CSINode",
        Kind.PASSING,
        _DRIVER_AWAY,
    ),
    _row(_VOLUME, r"PVC is not bound", Kind.PASSING, _CLAIM_UNBOUND),
    _row(_VOLUME, "", Kind.PASSING, _VOLUME_SLOW),
    # containerd: internal/cri/server/sandbox_run.go.
    _row(_SANDBOX, r"no runtime for ", Kind.FINAL, _NO_RUNTIME),
    _row(_SANDBOX, "", Kind.PASSING, _SANDBOX_SLOW),
)

# The condition PodScheduled: the scheduler (pkg/scheduler/framework/types.go FitError, framework/plugins).

_UNSCHEDULABLE = ("Unschedulable",)
_NO_NODE = Explanation(
    "Unschedulable",
    "No node can run the kernel: {message} It asks for {requests}.",
    "Ask for less, or ask the administrator for a node that fits.",
)
_NO_CLAIM = Explanation(
    "Unschedulable",
    "No node can run the kernel: {message}",
    "Check that the claim exists in the kernels' namespace.",
)
NO_NODE = _row(_UNSCHEDULABLE, "", Kind.FINAL, _NO_NODE)
"""No node, whatever the cause; final unless there is a sign that one will come."""
NODE_COMES = Explanation(
    "WaitingForNode",
    "No node has room yet, but one is being prepared: {message}",
    "Start the kernel again in a few minutes. An administrator can have starts wait for longer with "
    "gateway.waitTimeout.",
)
NOT_SCHEDULED = Explanation(
    "WaitingForNode",
    "The cluster has not chosen a node so far ({word}): {message}",
    "Try again later; if that does not help, have the scheduler checked.",
)

SCHEDULING: Sequence[Row] = (
    # plugins/volumebinding/volume_binding.go.
    _row(_UNSCHEDULABLE, r"unbound immediate PersistentVolumeClaims", Kind.PASSING, _CLAIM_UNBOUND),
    _row(_UNSCHEDULABLE, r"waiting for ephemeral volume controller", Kind.PASSING, _CLAIM_UNBOUND),
    _row(_UNSCHEDULABLE, r"persistentvolumeclaim \"[^\"]*\" not found", Kind.FINAL, _NO_CLAIM),
    # plugins/volumerestrictions/volume_restrictions.go: the pod that a restart replaces may still have it.
    _row(_UNSCHEDULABLE, r"ReadWriteOncePod access mode", Kind.PASSING, _VOLUME_ELSEWHERE),
    # plugins/defaultpreemption/default_preemption.go. A preemption that has begun has no "preemption:" in its
    # message at first, but status.nominatedNodeName; one that helps nothing says "No preemption victims found
    # for incoming pod" or "Preemption is not helpful for scheduling".
    _row(
        _UNSCHEDULABLE,
        r"terminating pod on the nominated node|waiting for the preemption for this pod",
        Kind.AWAITED,
        NODE_COMES,
    ),
    NO_NODE,
)

# Events about nodes to come, all of type Normal. The cluster autoscaler: processors/status/
# eventing_scale_up_processor.go. Karpenter: pkg/controllers/provisioning/scheduling/events.go.
NODE_COMES_EVENTS = frozenset({"TriggeredScaleUp", "Nominated"})
NO_NODE_COMES_EVENT = "NotTriggerScaleUp"

# A scheduling gate of another party, such as Kueue's kueue.x-k8s.io/admission.
GATED = Explanation(
    "SchedulingGated",
    "A scheduling gate holds the kernel back: {message}",
    "The program that added it has to remove it; with Kueue, the kernel waits for its queue's quota. Ask for "
    "less, start it again later, or ask the administrator.",
)
