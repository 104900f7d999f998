"""A launch as a Pod and a Secret: pure functions from data to data.

The Pod meets Pod Security "restricted". Values of the client never become structure: they are stored in
the Secret, one key a variable, and the container's environment refers to them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.model.failures import GRACE_SECONDS
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.patch import apply_patch
from gateway_provisioners.model.pod.kernel_state import (
    ATTEMPT_ANNOTATION,
    INSTANCE_LABEL,
    KERNEL_ID_LABEL,
    LAUNCHING,
    OPERATOR_ANNOTATION,
    STATE_ANNOTATION,
    USERNAME_ANNOTATION,
)
from gateway_provisioners.model.pod.status import CONTAINER
from gateway_provisioners.model.request.client_policy import DEFAULT_GPU_RESOURCE

COMPONENT_LABEL = "component"
COMPONENT = "kernel"
KERNEL_NAME_ANNOTATION = "gateway-provisioners/kernel-name"
GPU_RESOURCE_ANNOTATION = "gateway-provisioners/gpu-resource"
SECRET_GATE = "gateway-provisioners/secret"  # noqa: S105 - the name of a scheduling gate

# What tools that remove nodes read: Karpenter, and the cluster autoscaler. Pods without a controller, as a
# kernel's, keep their node from the second anyway, unless they say otherwise.
_NO_DISRUPTION_ANNOTATION = "karpenter.sh/do-not-disrupt"
_SAFE_TO_EVICT_ANNOTATION = "cluster-autoscaler.kubernetes.io/safe-to-evict"

_ENVIRONMENT_PREFIX = "env."
RECORD_KEY = "kernel.json"


@dataclass(frozen=True)
class KernelPodSpec:
    """Everything that a kernel's Pod and Secret are built from.

    Attributes:
        name: of the Pod and of its Secret.
        environment: literal variables of the container; nothing secret.
        secret_environment: variables that reach the container through the Secret.
        resources: requests and limits in a container's form.
        gpu_resource: the name of a GPU in `resources`.
        operator: the process that launches it.
        attempt: 1 for the start, one more for each restart.
        pod_fields: fields of the Pod's spec that are copied as they are; those without a value are not.
        env_from, volumes, volume_mounts: as in a Pod.
        run_as_user, run_as_group: numeric ids, or None to use the image's.
        fs_group: the group of volumes, which Kubernetes gives to all files that are in them; or None.
        owner: an ownerReference; Kubernetes deletes the Pod with the owner. Or None.
        ownership: whose kernel it is.
        evictable: whether autoscalers may evict it in order to remove its node.
        patch: the administrator's patch on the Pod.
    """

    name: str
    namespace: str
    instance: str
    kernel_id: str
    kernel_name: str
    username: str
    image: str
    environment: Mapping[str, str]
    secret_environment: Mapping[str, str] = field(repr=False)
    operator: str = ""
    attempt: int = 1
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: Sequence[str] = ()
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    gpu_resource: str = DEFAULT_GPU_RESOURCE
    pod_fields: Mapping[str, Any] = field(default_factory=dict)
    env_from: Sequence[Mapping[str, Any]] = ()
    volumes: Sequence[Mapping[str, Any]] = ()
    volume_mounts: Sequence[Mapping[str, Any]] = ()
    service_account_name: str = ""
    run_as_user: int | None = 1000
    run_as_group: int | None = 100
    fs_group: int | None = 100
    working_dir: str | None = None
    owner: Mapping[str, Any] | None = None
    ownership: Ownership = Ownership()  # noqa: RUF009 - frozen
    evictable: bool = False
    patch: Mapping[str, Any] = field(default_factory=dict)


def label_value(text: str) -> str:
    """`text` if it is a legal label value, else ""."""
    legal = text.replace("-", "").replace("_", "").replace(".", "")
    ends_legal = bool(text) and text[0].isalnum() and text[-1].isalnum()
    return text if legal.isascii() and legal.isalnum() and ends_legal and len(text) <= 63 else ""


def labels(instance: str, kernel_id: str) -> dict[str, str]:
    """The labels of a kernel's Pod and Secret; earlier gateways used the last two."""
    return {
        "app.kubernetes.io/name": "gateway-provisioners-kernel",
        "app.kubernetes.io/managed-by": "gateway-provisioners",
        "app.kubernetes.io/component": COMPONENT,
        INSTANCE_LABEL: instance,
        KERNEL_ID_LABEL: label_value(kernel_id),
        COMPONENT_LABEL: COMPONENT,
    }


def build_pod(kernel: KernelPodSpec) -> dict[str, Any]:
    """The Pod, held back by a scheduling gate until its Secret exists."""
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": kernel.image,
        "imagePullPolicy": kernel.image_pull_policy,
        "env": _container_environment(kernel),
        "resources": kernel.resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if kernel.env_from:
        container["envFrom"] = list(kernel.env_from)
    if kernel.volume_mounts:
        container["volumeMounts"] = list(kernel.volume_mounts)
    if kernel.working_dir:
        container["workingDir"] = kernel.working_dir
    security_context: dict[str, Any] = {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if kernel.run_as_user is not None:
        security_context["runAsUser"] = kernel.run_as_user
    if kernel.run_as_group is not None:
        security_context["runAsGroup"] = kernel.run_as_group
        if kernel.run_as_group != kernel.fs_group:
            security_context["supplementalGroups"] = [kernel.run_as_group]
    if kernel.fs_group is not None:
        security_context["fsGroup"] = kernel.fs_group
        # Without this, each start would go through all files of a shared volume.
        security_context["fsGroupChangePolicy"] = "OnRootMismatch"
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        # In a busy namespace, Services would add hundreds of variables that no kernel asked for.
        "enableServiceLinks": False,
        "schedulingGates": [{"name": SECRET_GATE}],
        "securityContext": security_context,
        "containers": [container],
        **_optional_fields(kernel),
    }
    metadata = {"name": kernel.name, "namespace": kernel.namespace, **build_marks(kernel)}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    return _with_text_quantities(apply_patch(pod, kernel.patch))


def account_of(pod: Mapping[str, Any]) -> str:
    """Return the ServiceAccount that a Pod gets; Kubernetes has an old and a new name of the field."""
    spec = pod["spec"]
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def _with_text_quantities(pod: dict[str, Any]) -> dict[str, Any]:
    """`pod` with amounts that are numbers as text, the one form that every client library takes."""
    spec = dict(pod["spec"])
    for key in ("containers", "initContainers"):
        if key in spec:
            spec[key] = [_container_with_text_quantities(container) for container in spec[key]]
    return {**pod, "spec": spec}


def _container_with_text_quantities(container: Mapping[str, Any]) -> Mapping[str, Any]:
    if not container.get("resources"):
        return container
    resources = {
        key: {name: str(amount) for name, amount in amounts.items()}
        if isinstance(amounts, Mapping)
        else amounts
        for key, amounts in container["resources"].items()
    }
    return {**container, "resources": resources}


def _optional_fields(kernel: KernelPodSpec) -> dict[str, Any]:
    """The fields of the Pod's spec that only some kernels have."""
    wanted = {
        **kernel.pod_fields,
        "serviceAccountName": kernel.service_account_name,
        "imagePullSecrets": [{"name": name} for name in kernel.image_pull_secrets],
        "volumes": list(kernel.volumes),
    }
    return {name: value for name, value in wanted.items() if value}


def build_marks(kernel: KernelPodSpec) -> dict[str, Any]:
    """The labels, annotations and owners that mark a Pod as this kernel's."""
    marks: dict[str, Any] = {
        "labels": labels(kernel.instance, kernel.kernel_id),
        "annotations": {
            KERNEL_NAME_ANNOTATION: kernel.kernel_name,
            USERNAME_ANNOTATION: kernel.username,
            STATE_ANNOTATION: LAUNCHING,
            OPERATOR_ANNOTATION: kernel.operator,
            ATTEMPT_ANNOTATION: str(kernel.attempt),
            GPU_RESOURCE_ANNOTATION: kernel.gpu_resource,
            **_eviction_annotations(evictable=kernel.evictable),
            **kernel.ownership.annotations(),
        },
    }
    if kernel.owner:
        marks["ownerReferences"] = [dict(kernel.owner)]
    return marks


def _eviction_annotations(*, evictable: bool) -> dict[str, str]:
    if evictable:
        return {_SAFE_TO_EVICT_ANNOTATION: "true"}
    return {_NO_DISRUPTION_ANNOTATION: "true", _SAFE_TO_EVICT_ANNOTATION: "false"}


def _container_environment(kernel: KernelPodSpec) -> list[dict[str, Any]]:
    # The kubelet expands $(NAME) in a literal value; $$ stands for one $.
    literal = [
        {"name": name, "value": value.replace("$", "$$")}
        for name, value in kernel.environment.items()
    ]
    referred = [
        {
            "name": name,
            "valueFrom": {"secretKeyRef": {"name": kernel.name, "key": _ENVIRONMENT_PREFIX + name}},
        }
        for name in kernel.secret_environment
        if name not in kernel.environment
    ]
    return literal + referred


def build_secret(kernel: KernelPodSpec, pod: Mapping[str, Any]) -> dict[str, Any]:
    """The Secret with the kernel's secret environment, owned by the created `pod`."""
    return build_owned_secret(
        pod,
        data={
            _ENVIRONMENT_PREFIX + name: base64.b64encode(value.encode()).decode()
            for name, value in kernel.secret_environment.items()
        },
    )


def build_owned_secret(pod: Mapping[str, Any], *, data: Mapping[str, str]) -> dict[str, Any]:
    """A Secret with the pod's name and labels that is deleted with the pod."""
    metadata = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": dict(metadata.get("labels") or {}),
            "ownerReferences": [owner],
        },
        "data": dict(data),
    }


def build_record_patch(record: Mapping[str, Any]) -> dict[str, Any]:
    """A patch of the Secret that stores the record with which another gateway takes the kernel over."""
    encoded = base64.b64encode(json.dumps(record).encode()).decode()
    return {"data": {RECORD_KEY: encoded}}


def read_record(secret: Mapping[str, Any]) -> Any:
    """Read what `build_record_patch` stored; None if the launch never finished.

    Raises:
        ProtocolError: it is not JSON.
    """
    encoded = (secret.get("data") or {}).get(RECORD_KEY)
    if not encoded:
        return None
    try:
        return json.loads(base64.b64decode(encoded))
    except (ValueError, TypeError, RecursionError) as error:
        raise ProtocolError("The kernel's record is not valid JSON.") from error


def open_gate_patch(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a JSON patch that removes our own gate, so that the scheduler sees the Pod; empty if it is gone.

    The API refuses it (422) if another party has changed the gates since `pod` was read.
    """
    names = [gate["name"] for gate in pod["spec"].get("schedulingGates") or ()]
    if SECRET_GATE not in names:
        return []
    path = f"/spec/schedulingGates/{names.index(SECRET_GATE)}"
    return [
        {"op": "test", "path": f"{path}/name", "value": SECRET_GATE},
        {"op": "remove", "path": path},
    ]
