"""The cluster's API over HTTP, by `kubectl proxy`: kubectl knows how to authenticate, we only ask."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from ci.clusters import Cluster
from ci.commands import CommandError

# The limit for a program or an object to appear or to vanish, and the pause between two looks, in seconds.
TIMEOUT_SECONDS = 120
LOOK_SECONDS = 0.1

Object = dict[str, Any]


async def wait_until(
    condition: Callable[[], Awaitable[bool]], what: str, *, look_seconds: float = LOOK_SECONDS
) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not await condition():
        if time.monotonic() > deadline:
            raise CommandError(f"waited {TIMEOUT_SECONDS} s in vain until {what}")
        await asyncio.sleep(look_seconds)


class Api:
    """The requests that the bench makes to the API server."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any = None,
        content_type: str | None = None,
    ) -> aiohttp.ClientResponse:
        answer = await self._session.request(
            method,
            f"http://localhost{path}",
            json=body,
            params=query,
            headers={"Content-Type": content_type} if content_type else None,
        )
        if answer.status >= 400:
            raise CommandError(f"{method} {path}: {answer.status} {(await answer.text())[:500]}")
        return answer

    async def get(self, path: str, **query: str) -> Object:
        """GET an object or a list of them."""
        answer: Object = await (await self._ask("GET", path, query)).json()
        return answer

    async def text(self, path: str) -> str:
        """GET text, such as the API server's metrics."""
        return await (await self._ask("GET", path, {})).text()

    async def post(self, path: str, body: Object) -> Object:
        """POST an object to a collection and return it as the API server made it."""
        answer: Object = await (await self._ask("POST", path, {}, body)).json()
        return answer

    async def patch(self, path: str, patch: Any) -> Object:
        """PATCH an object: a list is a JSON patch, anything else a merge patch."""
        kind = "json-patch" if isinstance(patch, list) else "merge-patch"
        content_type = f"application/{kind}+json"
        answer: Object = await (await self._ask("PATCH", path, {}, patch, content_type)).json()
        return answer

    async def delete(self, path: str, *, grace_seconds: int | None = None) -> None:
        """DELETE an object, if it exists."""
        query = {} if grace_seconds is None else {"gracePeriodSeconds": str(grace_seconds)}
        with suppress(CommandError):
            await self._ask("DELETE", path, query)

    async def delete_all(self, path: str, *, grace_seconds: int, **query: str) -> None:
        """DELETE what matches in a collection."""
        await self._ask("DELETE", path, {**query, "gracePeriodSeconds": str(grace_seconds)})

    async def watch(self, path: str, **query: str) -> AsyncIterator[Object]:
        """Yield the events of a watch as they come."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        url = f"http://localhost{path}"
        async with self._session.get(
            url, params={**query, "watch": "true"}, timeout=timeout
        ) as answer:
            async for line in answer.content:
                event: Object = json.loads(line)
                yield event

    async def wait_until_empty(self, path: str, **query: str) -> None:
        """Return when a collection has nothing that matches."""

        async def empty() -> bool:
            return not (await self.get(path, **query))["items"]

        await wait_until(empty, f"{path} is empty")


@asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator[Api]:
    """Open the cluster's API to this user only, for the length of the block."""
    # A socket in a folder of our own: a port would give every user of this machine our rights.
    with TemporaryDirectory() as folder:
        socket = Path(folder) / "api"
        process = await asyncio.create_subprocess_exec(
            str(cluster.kubectl),
            f"--kubeconfig={cluster.kubeconfig}",
            "proxy",
            f"--unix-socket={socket}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

        async def listens() -> bool:
            if process.returncode is not None:
                raise CommandError("kubectl proxy ended at once")
            return socket.exists()

        try:
            await wait_until(listens, "kubectl proxy listens")
            connector = aiohttp.UnixConnector(path=str(socket), limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                yield Api(session)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def labels(**pairs: str) -> Mapping[str, str]:
    """Return the query that selects objects by their labels."""
    return {"labelSelector": ",".join(f"{key}={value}" for key, value in pairs.items())}
