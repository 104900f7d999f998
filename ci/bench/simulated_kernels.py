"""Many simulated kernels: all that a gateway leaves of each in the cluster, without its process.

Pods and Secrets are made by the product's own functions, after the model of a kernel that the gateway
itself started. The pods are on a simulated node, the channels are those of fake kernels on this host.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ci import clusters
from ci.bench import fake_kernels, kwok_node
from ci.bench.api import Api, Object, labels, wait_until
from ci.clusters import Cluster
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.launcher_environment import LAUNCH_KEY_VARIABLE
from gateway_provisioners.model.names import pod_name
from gateway_provisioners.model.pod.kernel_state import (
    INSTANCE_LABEL,
    KERNEL_ID_LABEL,
    OPERATOR_ANNOTATION,
    RUNNING,
    STATE_ANNOTATION,
    USERNAME_ANNOTATION,
    annotation,
    annotations_patch,
)
from gateway_provisioners.model.pod.manifest import (
    KernelPodSpec,
    build_pod,
    build_record_patch,
    build_secret,
    open_gate_patch,
    read_record,
)

_AT_ONCE = 32


@dataclass(frozen=True)
class Model:
    """A kernel as its gateway left it: its pod, and the record in its Secret."""

    pod: Object
    record: dict[str, Any]

    @classmethod
    async def of(cls, api: Api, namespace: str, kernel_id: str) -> Model:
        """Read the kernel's pod and record."""
        place, of_kernel = f"/api/v1/namespaces/{namespace}", labels(kernel_id=kernel_id)
        [pod] = (await api.get(f"{place}/pods", **of_kernel))["items"]
        [secret] = (await api.get(f"{place}/secrets", **of_kernel))["items"]
        record = read_record(secret)
        assert record is not None  # noqa: S101 - it runs
        return cls(pod, record)

    def copy(self, connection: ConnectionInfo) -> tuple[KernelPodSpec, dict[str, Any]]:
        """Return the pod spec and the record of another such kernel, on the simulated node."""
        kernel_id = str(uuid.uuid4())
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        [container] = spec["containers"]
        [owner] = metadata["ownerReferences"]
        username = annotation(self.pod, USERNAME_ANNOTATION)
        environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        record = {
            **self.record,
            "kernel_id": kernel_id,
            "connection_info": connection.to_json(),
            "launch_key": base64.b64encode(uuid.uuid4().bytes * 2).decode(),
        }
        made_of = KernelPodSpec(
            name=pod_name(username, kernel_id, 1),
            namespace=metadata["namespace"],
            instance=metadata["labels"][INSTANCE_LABEL],
            kernel_id=kernel_id,
            kernel_name=record["kernel_name"],
            username=username,
            image=container["image"],
            environment={**environment, "KERNEL_ID": kernel_id},
            secret_environment={**record["environment"], LAUNCH_KEY_VARIABLE: record["launch_key"]},
            operator="bench",
            resources=container["resources"],
            pod_fields={
                "nodeSelector": kwok_node.LABELS,
                "tolerations": [kwok_node.TAINT],
            },
            service_account_name=spec["serviceAccountName"],
            owner=owner,
        )
        return made_of, record


async def _leave(api: Api, made_of: KernelPodSpec, record: dict[str, Any]) -> None:
    """Make the objects that a gateway makes in the course of a launch."""
    place = f"/api/v1/namespaces/{made_of.namespace}"
    pod = await api.post(f"{place}/pods", build_pod(made_of))
    await api.post(f"{place}/secrets", build_secret(made_of, pod))
    await api.patch(f"{place}/pods/{made_of.name}", open_gate_patch(pod))
    await api.patch(f"{place}/secrets/{made_of.name}", build_record_patch(record))
    running = annotations_patch({STATE_ANNOTATION: RUNNING, OPERATOR_ANNOTATION: ""})
    await api.patch(f"{place}/pods/{made_of.name}", running)


@asynccontextmanager
async def simulated_kernels(
    cluster: Cluster, api: Api, model: Model, count: int
) -> AsyncIterator[None]:
    """Have that many kernels like `model` for the length of the block.

    The gateway must not run when the block begins and ends: it would take them for failed starts, and
    for kernels that died.
    """
    namespace = model.pod["metadata"]["namespace"]
    pods = f"/api/v1/namespaces/{namespace}/pods"
    room = asyncio.Semaphore(_AT_ONCE)

    async def add(connection: ConnectionInfo) -> None:
        async with room:
            await _leave(api, *model.copy(connection))

    async def all_run() -> bool:
        listed = (await api.get(pods, fieldSelector="status.phase=Running"))["items"]
        return sum(KERNEL_ID_LABEL in each["metadata"]["labels"] for each in listed) == count

    async with (
        fake_kernels.running(await asyncio.to_thread(clusters.host_address), count) as connections,
        kwok_node.kwok_node(cluster, api, namespace),
    ):
        await asyncio.gather(*(add(connection) for connection in connections))
        await wait_until(all_run, f"kwok says that {count} pods run")
        yield
    # Kubernetes removes them after the pods, which must not disturb the next measurement.
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    await api.wait_until_empty(secrets, **labels(component="kernel"))
