"""Requests to one API server: with a credential that is renewed, over connections that are found dead."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.rest import RESTClientObject

from gateway_provisioners.aio import within
from gateway_provisioners.errors import (
    ClusterError,
    ConfigurationError,
    GatewayProvisionersError,
)
from gateway_provisioners.kube.credentials import Access
from gateway_provisioners.kube.refusals import LIBRARY_ERRORS, refusal, refusal_of, translated
from gateway_provisioners.model.objects import Object

REQUEST_SECONDS = 15.0
# The API server ends a watch after this many seconds; it is opened again from where it was.
WATCH_SECONDS = 240
# A peer that is gone is found by TCP, since a watch may be silent: by four probes, 15 s apart, after 30 s
# without traffic; or when it has not acknowledged for 90 s what was sent.
_KEEPALIVE = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPALIVE": 30,  # the same on macOS
    "TCP_KEEPINTVL": 15,
    "TCP_KEEPCNT": 4,
    "TCP_USER_TIMEOUT": 90_000,
}
# The shortest time between two attempts to renew a credential.
_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Connection:
    """One authenticated connection pool to one API server.

    Args:
        access: the first access; `load` returns each later one.
        clock: seconds that only grow.

    Raises:
        ConfigurationError: the access holds a certificate or a key that cannot be used.
    """

    def __init__(
        self,
        access: Access,
        load: Callable[[], Awaitable[Access]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._clock = clock
        self._renewing = asyncio.Lock()
        self._failure = ""
        self._failed_at = 0.0
        self._retired: set[asyncio.Task[None]] = set()
        self._access, self._loaded_at = access, clock()
        rest_client = _rest_client(access)
        self.api_client = client.ApiClient(access.configuration)
        self.api_client.rest_client = rest_client

    async def close(self) -> None:
        """Close all connections; watches that are open break."""
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        await self.api_client.close()  # type: ignore[no-untyped-call]

    async def body(self, method: Any, *arguments: Any, **options: Any) -> bytes:
        """Call a method of the library, without having it make objects of the answer.

        Raises:
            ClusterError: the API refused, or did not answer.
        """
        try:
            options["_request_timeout"] = REQUEST_SECONDS
            response = await self._response(method, *arguments, **options)
            body: bytes = await response.read()
        except LIBRARY_ERRORS as error:
            raise translated(error) from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise refusal(response.status, body)
        return body

    async def object(self, method: Any, *arguments: Any, **options: Any) -> Object:
        """Call a method of the library; return the answer's JSON.

        Raises:
            ClusterError: the API refused, or did not answer.
        """
        body = await self.body(method, *arguments, **options)
        try:
            answer: Object = json.loads(body)
        except ValueError as error:
            raise translated(error) from None
        return answer

    async def changes(
        self, method: Any, *arguments: Any, **options: Any
    ) -> AsyncGenerator[tuple[str, Object], None]:
        """Yield the events of a watch until the server ends it: their type, and the object.

        A watch may be silent until then, bookmarks or not: the API server sends none that is not newer than
        the version from which the watch began, and Events have none at all.

        Raises:
            ClusterError: the API refused, the connection broke, or the server did not end the watch.
        """
        options["_request_timeout"] = WATCH_SECONDS + REQUEST_SECONDS
        options["timeout_seconds"] = WATCH_SECONDS
        try:
            response = await within(
                REQUEST_SECONDS,
                self._response(
                    method, *arguments, watch=True, allow_watch_bookmarks=True, **options
                ),
            )
            with contextlib.closing(response):
                if response.status >= HTTPStatus.BAD_REQUEST:
                    raise refusal(response.status, await response.read())
                while line := await response.content.readline():
                    yield _event(line)
        except LIBRARY_ERRORS as error:
            raise translated(error) from error

    async def _response(
        self, method: Any, *arguments: Any, **options: Any
    ) -> aiohttp.ClientResponse:
        """Return the answer to a request; a refused credential is renewed once."""
        raw = getattr(method.__self__, f"{method.__name__}_without_preload_content")
        access = await self._current()
        response = cast(aiohttp.ClientResponse, await raw(*arguments, **options))
        if response.status == HTTPStatus.UNAUTHORIZED and await self._renewed(access):
            response.close()
            response = cast(aiohttp.ClientResponse, await raw(*arguments, **options))
        return response

    async def _current(self) -> Access:
        """Return the access, after renewing it if that is due."""
        access = self._access
        if access.renew_in is None or self._age() < max(access.renew_in, _PAUSE_SECONDS):
            return access
        async with self._renewing:
            if access is self._access:
                try:
                    await self._renew()
                except ClusterError:
                    if access.expires_in is not None and self._age() >= access.expires_in:
                        raise
        return self._access

    async def _renewed(self, refused: Access) -> bool:
        """Return whether there is another access than the one that was refused."""
        async with self._renewing:
            if refused is self._access and self._age() >= _PAUSE_SECONDS:
                await self._renew()
        return refused is not self._access

    def _age(self) -> float:
        return self._clock() - self._loaded_at

    async def _renew(self) -> None:
        if not self._failure or self._clock() >= self._failed_at + _PAUSE_SECONDS:
            try:
                self._take(await self._load())
                self._failure = ""
            except GatewayProvisionersError as error:
                self._failure, self._failed_at = str(error), self._clock()
                _log.warning("The credential for the Kubernetes API cannot be renewed: %s", error)
        if self._failure:
            raise ClusterError(self._failure)

    def _take(self, access: Access) -> None:
        """Use an access from now on; connections that do not fit it are closed when they are done."""
        if access.connection != self._access.connection:
            old, self.api_client.rest_client = self.api_client.rest_client, _rest_client(access)
            task = asyncio.create_task(_close_later(old), name="close connections")
            self._retired.add(task)
            task.add_done_callback(self._retired.discard)
        self.api_client.configuration = access.configuration
        self._access, self._loaded_at = access, self._clock()


class _RestClient(RESTClientObject):
    """The library's HTTP client, with probes that find dead connections."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self.maxsize, ssl=self.ssl_context, socket_factory=_new_socket
        )


def _rest_client(access: Access) -> _RestClient:
    # The proxies of the environment are in the access already, by better rules; nor is there a .netrc.
    access.configuration.client_session_kwargs = {"trust_env": False}
    try:
        return _RestClient(access.configuration)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(
            f"A certificate or key of the kubeconfig cannot be used: {error.strerror or error}."
        ) from error


def _new_socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    new = socket.socket(family, kind, protocol)
    new.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            new.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return new


async def _close_later(rest_client: RESTClientObject) -> None:
    try:
        await asyncio.sleep(WATCH_SECONDS + REQUEST_SECONDS)
    finally:
        await rest_client.close()


def _event(line: bytes) -> tuple[str, Object]:
    event = json.loads(line)
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
        raise ClusterError("the answer is not a watch: a proxy on the way may have given it")
    kind, item = event.get("type"), event["object"]
    if kind == "ERROR":
        raise refusal_of(int(item.get("code") or 0), item)
    return str(kind), item
