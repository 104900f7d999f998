"""The peer's Deployment, Service and rights, as gateway-provisioners 0.5.0's own chart has them.

That chart's rights are cluster-wide and its names fixed; what a gateway needs for kernels in its own
namespace is the same here, in a Role. Its chart does not hand the token on, hence no chart.
"""

from __future__ import annotations

from typing import Any

NAME = "peer-gateway"
# Jupyter Kernel Gateway hides its environment from a launch whose request has `env`; the peer's launcher,
# a process of its own, finds the API server by these.
_PASSED_ON = "KUBERNETES_SERVICE_HOST,KUBERNETES_SERVICE_PORT"


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _container(image: str, port: int) -> dict[str, Any]:
    token = {"secretKeyRef": {"name": NAME, "key": "token"}}
    settings = {
        "KG_IP": "0.0.0.0",  # noqa: S104 - in its pod, as its own start script has it
        "KG_PORT": str(port),
        "KG_LIST_KERNELS": "True",
        "KG_DEFAULT_KERNEL_NAME": "k8s_python",
        "KG_ENV_PROCESS_WHITELIST": _PASSED_ON,
    }
    return {
        "name": "gateway",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        # INFO as ours; its start script has DEBUG.
        "args": ["jupyter", "kernelgateway", "--log-level=INFO"],
        "env": [
            *({"name": name, "value": value} for name, value in settings.items()),
            {"name": "KG_AUTH_TOKEN", "valueFrom": token},
            _field("GP_NAMESPACE", "metadata.namespace"),
            _field("GP_RESPONSE_IP", "status.podIP"),
        ],
        "ports": [{"containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 2},
    }


def build(namespace: str, image: str, port: int) -> list[dict[str, Any]]:
    """Return the objects to apply, besides the Secret with the token."""
    metadata = {"name": NAME, "namespace": namespace}
    selector = {"app": NAME}
    rbac = "rbac.authorization.k8s.io"
    resources = ["pods", "services", "configmaps", "secrets", "persistentvolumeclaims"]
    verbs = ["get", "watch", "list", "create", "delete"]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": resources, "verbs": verbs}],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", **metadata}],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": selector, "ports": [{"port": port}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": selector},
                "template": {
                    "metadata": {"labels": selector},
                    "spec": {
                        "serviceAccountName": NAME,
                        "containers": [_container(image, port)],
                    },
                },
            },
        },
    ]
