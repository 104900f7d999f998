"""A launch as a Pod and a Secret: pure functions from data to data.

The Pod meets Pod Security "restricted". What the client set never becomes structure: it is stored in
the Secret, one key a variable, and the container's environment refers to it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners.model.kernel_end import GRACE_SECONDS
from gateway_provisioners.model.kernel_state import (
    ATTEMPT_ANNOTATION,
    INSTANCE_LABEL,
    KERNEL_ID_LABEL,
    LAUNCHING,
    OPERATOR_ANNOTATION,
    STATE_ANNOTATION,
    USERNAME_ANNOTATION,
)
from gateway_provisioners.model.patch import apply_patch
from gateway_provisioners.model.pod_status import CONTAINER

COMPONENT_LABEL = "component"
COMPONENT = "kernel"
KERNEL_NAME_ANNOTATION = "gateway-provisioners/kernel-name"
SECRET_GATE = "gateway-provisioners/secret"  # noqa: S105 - the name of a scheduling gate

_ENVIRONMENT_PREFIX = "env."
RECORD_KEY = "kernel.json"


@dataclass(frozen=True)
class KernelPodSpec:
    """Everything a kernel's Pod and Secret are made of.

    Attributes:
        name: of the Pod and of its Secret.
        environment: literal variables of the container; nothing secret.
        secret_environment: variables that reach the container through the Secret.
        resources: requests and limits in a container's form.
        operator: the process that launches it.
        attempt: 1 for the start, one more for each restart.
        run_as_user, run_as_group: numeric ids, or None to use the image's.
        owner: an ownerReference (what Kubernetes collects the Pod with), or None.
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
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    service_account_name: str = ""
    run_as_user: int | None = 1000
    run_as_group: int | None = 100
    working_dir: str | None = None
    owner: Mapping[str, Any] | None = None
    patch: Mapping[str, Any] = field(default_factory=dict)


def label_value(text: str) -> str:
    """`text` where it is a legal label value, else "": a label is for selecting, not for show."""
    legal = text.replace("-", "").replace("_", "").replace(".", "")
    ends_legal = bool(text) and text[0].isalnum() and text[-1].isalnum()
    return text if legal.isascii() and legal.isalnum() and ends_legal and len(text) <= 63 else ""


def labels(instance: str, kernel_id: str) -> dict[str, str]:
    """The labels of a kernel's Pod and Secret; the last two are those of earlier gateways."""
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
        "resources": {kind: dict(amounts) for kind, amounts in kernel.resources.items()},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
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
        security_context["fsGroup"] = kernel.run_as_group
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        # Service variables are hundreds of entries in a busy namespace, and nothing a kernel asked for.
        "enableServiceLinks": False,
        "schedulingGates": [{"name": SECRET_GATE}],
        "securityContext": security_context,
        "containers": [container],
    }
    if kernel.service_account_name:
        spec["serviceAccountName"] = kernel.service_account_name
    if kernel.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in kernel.image_pull_secrets]
    if kernel.node_selector:
        spec["nodeSelector"] = dict(kernel.node_selector)
    if kernel.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in kernel.tolerations]
    metadata = {"name": kernel.name, "namespace": kernel.namespace, **build_marks(kernel)}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    return apply_patch(pod, kernel.patch)


def build_marks(kernel: KernelPodSpec) -> dict[str, Any]:
    """The labels, annotations and owners by which a Pod is known as this kernel's."""
    marks: dict[str, Any] = {
        "labels": labels(kernel.instance, kernel.kernel_id),
        "annotations": {
            KERNEL_NAME_ANNOTATION: kernel.kernel_name,
            USERNAME_ANNOTATION: kernel.username,
            STATE_ANNOTATION: LAUNCHING,
            OPERATOR_ANNOTATION: kernel.operator,
            ATTEMPT_ANNOTATION: str(kernel.attempt),
        },
    }
    if kernel.owner:
        marks["ownerReferences"] = [dict(kernel.owner)]
    return marks


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
    """A Secret of the pod's name and labels that goes when the pod goes."""
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
    """A patch of the Secret that stores what another gateway must know to take the kernel over."""
    encoded = base64.b64encode(json.dumps(record).encode()).decode()
    return {"data": {RECORD_KEY: encoded}}


def read_record(secret: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `build_record_patch` stored, or None where the launch never finished."""
    encoded = (secret.get("data") or {}).get(RECORD_KEY)
    if not encoded:
        return None
    record: dict[str, Any] = json.loads(base64.b64decode(encoded))
    return record


def open_gate_patch(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A JSON patch that lets the scheduler see the Pod; gates of the administrator's own stay."""
    gates = [gate for gate in pod["spec"].get("schedulingGates", []) if gate["name"] != SECRET_GATE]
    if gates:
        return [{"op": "replace", "path": "/spec/schedulingGates", "value": gates}]
    return [{"op": "remove", "path": "/spec/schedulingGates"}]
