"""Baselines, which no gateway can beat: a bare pod, a kernel on this host, ZMQ with nothing in between."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any, cast

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.manager import AsyncKernelManager

from ci.bench.api import Api
from ci.bench.client import CODE
from ci.bench.node_view import wait_until_stopped
from ci.commands import CommandError
from gateway_provisioners.model.connection_info import ConnectionInfo

TIMEOUT_SECONDS = 120


class BarePods:
    """Pods of the kernel's image in a namespace of their own, which do nothing."""

    def __init__(self, api: Api, namespace: str, image: str) -> None:
        self._api = api
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._image = image

    async def start(self) -> float:
        """Return the seconds from a pod's POST until a watch says that it is Running."""
        name = f"bare-{uuid.uuid4().hex[:12]}"
        container = {
            "name": "kernel",
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "infinity"],
        }
        spec = {
            "containers": [container],
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
        }
        begin = time.perf_counter()
        pod = await self._api.post(
            self._path,
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec},
        )
        version = pod["metadata"]["resourceVersion"]
        async for event in self._api.watch(
            self._path, fieldSelector=f"metadata.name={name}", resourceVersion=version
        ):
            if event["object"].get("status", {}).get("phase") == "Running":
                return time.perf_counter() - begin
        raise CommandError(f"the bare pod {name} did not run within {TIMEOUT_SECONDS} s")

    async def remove(self) -> None:
        """Delete all of them and return when they are gone."""
        for pod in (await self._api.get(self._path))["items"]:
            await self._api.delete(f"{self._path}/{pod['metadata']['name']}", grace_seconds=0)
        await self._api.wait_until_empty(self._path)
        await wait_until_stopped(self._api, self._namespace)


async def start_local_kernel() -> float:
    """Return the seconds that a kernel on this host takes to its first result of 1+1."""
    manager = AsyncKernelManager()
    begin = time.perf_counter()
    # Else each says at length that its channels, on loopback, are not encrypted.
    await manager.start_kernel(stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
    client: AsyncKernelClient = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=TIMEOUT_SECONDS)
        await client.execute_interactive(CODE, timeout=TIMEOUT_SECONDS, output_hook=_ignore)
        return time.perf_counter() - begin
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


def _ignore(_message: dict[str, Any]) -> None:
    return


class DirectZmq:
    """A kernel's ZMQ channels, used from this host as the gateway itself uses them."""

    def __init__(self, info: ConnectionInfo) -> None:
        self._client = BlockingKernelClient()
        self._client.load_connection_info(cast("KernelConnectionInfo", info.to_jupyter()))
        self._client.start_channels(stdin=False, hb=False, control=False)
        self._client.wait_for_ready(timeout=TIMEOUT_SECONDS)

    def execute(self) -> float:
        """Run 1+1; return the seconds until both its reply and `status: idle` are there."""
        # The channels themselves: the client's own get_iopub_msg hands each message from thread to thread
        # where an event loop runs, which a baseline must not.
        shell, iopub = self._client.shell_channel, self._client.iopub_channel
        begin = time.perf_counter()
        msg_id = self._client.execute(CODE)
        while True:
            message = iopub.get_msg(timeout=TIMEOUT_SECONDS)
            answers = message["parent_header"].get("msg_id") == msg_id
            if answers and message["content"].get("execution_state") == "idle":
                break
        shell.get_msg(timeout=TIMEOUT_SECONDS)
        return time.perf_counter() - begin

    def close(self) -> None:
        self._client.stop_channels()
