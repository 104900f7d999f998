"""The Kubernetes API as plain dicts.

Every call raises `ClusterError` when the API refuses it or does not answer, and no error of the library.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from kubernetes.aio import client

from gateway_provisioners.kube.connection import Connection
from gateway_provisioners.kube.credentials import load_access
from gateway_provisioners.model.objects import Object

# A line of a log has any length.
_MAX_LOG_BYTES = 2**20

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


class KubeApi:
    """One authenticated connection pool to one cluster; make it with `connect`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._core = client.CoreV1Api(connection.api_client)
        self._apps = client.AppsV1Api(connection.api_client)
        self._coordination = client.CoordinationV1Api(connection.api_client)

    @classmethod
    async def connect(cls, clock: Callable[[], float] = time.monotonic) -> KubeApi:
        """Connect as the pod's service account, or else as the kubeconfig's current context.

        Args:
            clock: seconds that only grow, by which credentials are renewed.

        Raises:
            ConfigurationError: neither exists, or it cannot be used; nothing has been sent to the API.
            ClusterError: a plugin, which the kubeconfig names, gives no credential.
        """
        access = await load_access()
        connection = Connection(access, load_access, clock)
        # The library imports hundreds of models at first use, which takes seconds.
        return await asyncio.to_thread(cls, connection)

    @property
    def host(self) -> str:
        """The name or address of the API server."""
        return urlsplit(self._connection.api_client.configuration.host).hostname or ""

    async def close(self) -> None:
        """Close all connections; watches that are open break."""
        await self._connection.close()

    async def create_pod(self, namespace: str, manifest: Mapping[str, Any]) -> Object:
        """Create a Pod; returns it as stored. If its name is taken: api_reason AlreadyExists."""
        return await self._connection.object(self._core.create_namespaced_pod, namespace, manifest)

    async def patch_pod(
        self, namespace: str, name: str, patch: Any, *, content_type: str = MERGE_PATCH
    ) -> Object:
        """Patch a Pod; returns it as stored. If the test of a JSON patch fails: status 422."""
        return await self._connection.object(
            self._core.patch_namespaced_pod, name, namespace, patch, _content_type=content_type
        )

    async def annotate_through_status(
        self, namespace: str, name: str, annotations: Mapping[str, str | None]
    ) -> Object:
        """Set annotations of a Pod with the right to patch `pods/status`, which cannot change its spec."""
        patch = {"metadata": {"annotations": dict(annotations)}}
        return await self._connection.object(
            self._core.patch_namespaced_pod_status,
            name,
            namespace,
            patch,
            _content_type=MERGE_PATCH,
        )

    async def delete_pod(self, namespace: str, name: str, *, grace_seconds: int) -> None:
        """Begin to delete a Pod, which is gone when its containers have ended. If not found: status 404."""
        await self._connection.object(
            self._core.delete_namespaced_pod, name, namespace, grace_period_seconds=grace_seconds
        )

    async def create_event(self, namespace: str, manifest: Mapping[str, Any]) -> Object:
        """Create an Event; returns it as stored."""
        return await self._connection.object(
            self._core.create_namespaced_event, namespace, manifest
        )

    async def pod_log(self, namespace: str, name: str, *, container: str, lines: int) -> str:
        """Return the last `lines` lines of a container's log, or the beginning of that if it is long."""
        body = await self._connection.body(
            self._core.read_namespaced_pod_log,
            name,
            namespace,
            container=container,
            tail_lines=lines,
            limit_bytes=_MAX_LOG_BYTES,
        )
        return body.decode("utf-8", "replace")

    async def create_secret(self, namespace: str, manifest: Mapping[str, Any]) -> Object:
        """Create a Secret; returns it as stored."""
        return await self._connection.object(
            self._core.create_namespaced_secret, namespace, manifest
        )

    async def patch_secret(self, namespace: str, name: str, patch: Mapping[str, Any]) -> Object:
        """Apply a merge patch to a Secret; returns it as stored."""
        return await self._connection.object(
            self._core.patch_namespaced_secret,
            name,
            namespace,
            dict(patch),
            _content_type=MERGE_PATCH,
        )

    async def read_secret(self, namespace: str, name: str) -> Object:
        """Read a Secret; its data is base64. If not found: status 404, as for the other reads."""
        return await self._connection.object(self._core.read_namespaced_secret, name, namespace)

    async def read_deployment(self, namespace: str, name: str) -> Object:
        """Read a Deployment."""
        return await self._connection.object(self._apps.read_namespaced_deployment, name, namespace)

    async def read_config_map(self, namespace: str, name: str) -> Object:
        """Read a ConfigMap."""
        return await self._connection.object(self._core.read_namespaced_config_map, name, namespace)

    async def read_lease(self, namespace: str, name: str) -> Object:
        """Read a Lease, with the resourceVersion that `replace_lease` needs."""
        return await self._connection.object(
            self._coordination.read_namespaced_lease, name, namespace
        )

    async def create_lease(self, namespace: str, manifest: Mapping[str, Any]) -> Object:
        """Create a Lease; returns it as stored. If it exists: status 409."""
        return await self._connection.object(
            self._coordination.create_namespaced_lease, namespace, manifest
        )

    async def replace_lease(self, namespace: str, name: str, manifest: Object) -> Object:
        """Replace a Lease; one that changed since `manifest` was read is left alone (status 409)."""
        return await self._connection.object(
            self._coordination.replace_namespaced_lease, name, namespace, manifest
        )

    def collection(
        self, kind: str, namespace: str, *, label_selector: str = "", field_selector: str = ""
    ) -> Collection:
        """The Pods, Events, ConfigMaps or DaemonSets of a namespace, to list and to watch.

        Events are watched and never listed: only future ones matter.
        """
        methods = {
            "Pod": self._core.list_namespaced_pod,
            "Event": self._core.list_namespaced_event,
            "ConfigMap": self._core.list_namespaced_config_map,
            "DaemonSet": self._apps.list_namespaced_daemon_set,
        }
        selectors: dict[str, Any] = {}
        if label_selector:
            selectors["label_selector"] = label_selector
        if field_selector:
            selectors["field_selector"] = field_selector
        return Collection(
            self._connection, methods[kind], namespace, selectors, listed=kind != "Event"
        )


class Collection:
    """Some objects of one kind in one namespace."""

    def __init__(
        self,
        connection: Connection,
        list_method: Any,
        namespace: str,
        selectors: Mapping[str, Any],
        *,
        listed: bool,
    ) -> None:
        self._connection = connection
        self._list_method = list_method
        self._namespace = namespace
        self._selectors = dict(selectors)
        self._listed = listed

    async def list(self) -> tuple[list[Object], str]:
        """Return the objects, and the resource version they were read at; "" is the present."""
        if not self._listed:
            return [], ""
        answer = await self._connection.object(
            self._list_method, self._namespace, **self._selectors
        )
        return answer.get("items") or [], answer["metadata"]["resourceVersion"]

    def changes(self, resource_version: str) -> AsyncGenerator[tuple[str, Object], None]:
        """Yield the changes after `resource_version`: (ADDED | MODIFIED | DELETED | BOOKMARK, object).

        Ends when the server closes the stream, which it does every few minutes.

        Raises:
            ClusterError: the stream broke; status 410 means that the version is too old and the objects
                must be listed again.
        """
        return self._connection.changes(
            self._list_method,
            self._namespace,
            resource_version=resource_version,
            **self._selectors,
        )
