"""The Kubernetes API as plain dicts: the only module that imports the client library.

Every call raises `ClusterError` when the API refuses it or does not answer, and no error of the library.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client, config, watch
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config.incluster_config import SERVICE_TOKEN_FILENAME
from pydantic import ValidationError

from gateway_provisioners.aio import within
from gateway_provisioners.errors import ClusterError, ConfigurationError
from gateway_provisioners.model.objects import Object

# The API server ends a watch after this many seconds; it is opened again from where it was.
_WATCH_SECONDS = 240
# A bookmark arrives about once a minute: a longer silence means that the connection is dead.
_WATCH_SILENCE_SECONDS = 90.0
_REQUEST_SECONDS = 15.0
# A line of a log has any length.
_MAX_LOG_BYTES = 2**20
# The errors of the library. A manifest that it refuses never reaches the API server.
_TRANSLATED = (ApiException, ValidationError, asyncio.TimeoutError, aiohttp.ClientError, OSError)

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


class KubeApi:
    """One authenticated connection pool to one cluster; make it with `connect`."""

    def __init__(self, api_client: client.ApiClient) -> None:
        self._api_client = api_client
        self._core = client.CoreV1Api(api_client)
        self._apps = client.AppsV1Api(api_client)
        self._coordination = client.CoordinationV1Api(api_client)

    @classmethod
    async def connect(cls) -> KubeApi:
        """Connect as the pod's service account, or else as the kubeconfig's current context.

        Raises:
            ConfigurationError: neither exists; nothing has been sent anywhere.
        """
        configuration = client.Configuration()
        try:
            if _has_service_account():
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                # The library reads KUBECONFIG once, when it is imported.
                await config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=os.environ.get("KUBECONFIG"), client_configuration=configuration
                )
        except config.ConfigException as error:
            msg = (
                "No Kubernetes cluster to start kernels on: this process has no service account, "
                f"and no usable kubeconfig ({error}). Set KUBECONFIG to the path of one."
            )
            raise ConfigurationError(msg) from error
        # The library imports hundreds of models at first use, which takes seconds.
        return await asyncio.to_thread(cls, client.ApiClient(configuration))

    async def close(self) -> None:
        """Close all connections; watches that are open break."""
        await self._api_client.close()  # type: ignore[no-untyped-call]

    async def create_pod(self, namespace: str, manifest: Mapping[str, Any]) -> Object:
        """Create a Pod; returns it as stored. If its name is taken: api_reason AlreadyExists."""
        return await _object(self._core.create_namespaced_pod, namespace, manifest)

    async def patch_pod(
        self, namespace: str, name: str, patch: Any, *, content_type: str = MERGE_PATCH
    ) -> Object:
        """Patch a Pod; returns it as stored. If the test of a JSON patch fails: status 422."""
        return await _object(
            self._core.patch_namespaced_pod, name, namespace, patch, _content_type=content_type
        )

    async def annotate_through_status(
        self, namespace: str, name: str, annotations: Mapping[str, str | None]
    ) -> Object:
        """Set annotations of a Pod with the right to patch `pods/status`, which cannot change its spec."""
        patch = {"metadata": {"annotations": dict(annotations)}}
        return await _object(
            self._core.patch_namespaced_pod_status,
            name,
            namespace,
            patch,
            _content_type=MERGE_PATCH,
        )

    async def delete_pod(self, namespace: str, name: str, *, grace_seconds: int) -> None:
        """Begin to delete a Pod, which is gone when its containers have ended. If not found: status 404."""
        await _object(
            self._core.delete_namespaced_pod, name, namespace, grace_period_seconds=grace_seconds
        )

    async def pod_log(self, namespace: str, name: str, *, container: str, lines: int) -> str:
        """Return the last `lines` lines of a container's log, or the beginning of that if it is long."""
        body = await _body(
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
        return await _object(self._core.create_namespaced_secret, namespace, manifest)

    async def patch_secret(self, namespace: str, name: str, patch: Mapping[str, Any]) -> Object:
        """Apply a merge patch to a Secret; returns it as stored."""
        return await _object(
            self._core.patch_namespaced_secret,
            name,
            namespace,
            dict(patch),
            _content_type=MERGE_PATCH,
        )

    async def read_secret(self, namespace: str, name: str) -> Object:
        """Read a Secret; its data is base64. If not found: status 404, as for the other reads."""
        return await _object(self._core.read_namespaced_secret, name, namespace)

    async def read_deployment(self, namespace: str, name: str) -> Object:
        """Read a Deployment."""
        return await _object(self._apps.read_namespaced_deployment, name, namespace)

    async def read_config_map(self, namespace: str, name: str) -> Object:
        """Read a ConfigMap."""
        return await _object(self._core.read_namespaced_config_map, name, namespace)

    async def read_lease(self, namespace: str, name: str) -> Object:
        """Read a Lease, with the resourceVersion that `replace_lease` needs."""
        return await _object(self._coordination.read_namespaced_lease, name, namespace)

    async def create_lease(self, namespace: str, manifest: Mapping[str, Any]) -> Object:
        """Create a Lease; returns it as stored. If it exists: status 409."""
        return await _object(self._coordination.create_namespaced_lease, namespace, manifest)

    async def replace_lease(self, namespace: str, name: str, manifest: Object) -> Object:
        """Replace a Lease; one that changed since `manifest` was read is left alone (status 409)."""
        return await _object(self._coordination.replace_namespaced_lease, name, namespace, manifest)

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
        return Collection(methods[kind], namespace, selectors, listed=kind != "Event")


class Collection:
    """Some objects of one kind in one namespace."""

    def __init__(
        self, list_method: Any, namespace: str, selectors: Mapping[str, Any], *, listed: bool
    ) -> None:
        self._list_method = list_method
        self._namespace = namespace
        self._selectors = dict(selectors)
        self._listed = listed

    @property
    def _longest_silence(self) -> float:
        # The API server keeps no cache of Events, and sends no bookmarks without one.
        return _WATCH_SILENCE_SECONDS if self._listed else _WATCH_SECONDS + _REQUEST_SECONDS

    async def list(self) -> tuple[list[Object], str]:
        """Return the objects, and the resource version they were read at; "" is the present."""
        if not self._listed:
            return [], ""
        answer = await _object(self._list_method, self._namespace, **self._selectors)
        return answer.get("items") or [], answer["metadata"]["resourceVersion"]

    async def changes(self, resource_version: str) -> AsyncGenerator[tuple[str, Object], None]:
        """Yield the changes after `resource_version`: (ADDED | MODIFIED | DELETED | BOOKMARK, object).

        Ends when the server closes the stream, which it does every few minutes.

        Raises:
            ClusterError: the stream broke or fell silent; status 410 means that the version is too
                old and the objects must be listed again.
        """
        async with watch.Watch(return_type="object") as stream:  # type: ignore[no-untyped-call]
            events = stream.stream(
                self._list_method,
                self._namespace,
                resource_version=resource_version,
                allow_watch_bookmarks=True,
                timeout_seconds=_WATCH_SECONDS,
                **self._selectors,
            )
            while True:
                try:
                    event = await within(self._longest_silence, anext(events))
                except StopAsyncIteration:
                    return
                except _TRANSLATED as error:
                    raise _translated(error) from error
                yield event["type"], event["raw_object"]


def _has_service_account() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and Path(SERVICE_TOKEN_FILENAME).exists()


async def _body(method: Any, *arguments: Any, **options: Any) -> bytes:
    """Call a method of the library, without having it make objects of the answer."""
    raw = getattr(method.__self__, f"{method.__name__}_without_preload_content")
    try:
        response = await raw(*arguments, _request_timeout=_REQUEST_SECONDS, **options)
        body: bytes = await response.read()
    except _TRANSLATED as error:
        raise _translated(error) from error
    if response.status >= 400:
        raise _refusal(response.status, body)
    return body


async def _object(method: Any, *arguments: Any, **options: Any) -> Object:
    answer: Object = json.loads(await _body(method, *arguments, **options))
    return answer


def _refusal(status: int, body: bytes) -> ClusterError:
    """Turn the API's Status object into an error; any other body is dropped: it may hold anything."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    message = str(answer.get("message") or f"HTTP {status} without an explanation")
    return ClusterError(message, status=status, api_reason=str(answer.get("reason") or ""))


def _translated(error: Exception) -> ClusterError:
    if isinstance(error, ValidationError):
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return ClusterError(_problems(error), status=status, api_reason="Invalid")
    if isinstance(error, ApiException):
        return ClusterError(
            str(error.reason), status=error.status or 0, api_reason=str(error.reason or "")
        )
    if isinstance(error, asyncio.TimeoutError):
        return ClusterError("no answer in time")
    return ClusterError(f"{type(error).__name__}: {error}")


def _problems(error: ValidationError) -> str:
    """List the fields of a manifest that the library refuses, and why; no values, which may be secret."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'][1:]))}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    )
