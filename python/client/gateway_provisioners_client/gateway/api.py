"""The API of a gateway: Enterprise Gateway's, a plain Jupyter server's, and what this product's adds."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp

from gateway_provisioners_client.errors import ClientError, GatewayRefused
from gateway_provisioners_client.gateway import answers
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.connections import GatewayWebsocket
from gateway_provisioners_client.gateway.credentials import Credentials, RequestHeaders
from gateway_provisioners_client.gateway.progress import EventParser, ProgressStep, TooLong
from gateway_provisioners_client.gateway.specs import KernelSpecs, specs_of
from gateway_provisioners_client.gateway.transport import Transport

SUBPROTOCOL = "v1.kernel.websocket.jupyter.org"
_KERNEL_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_MOST_KERNELS = 10_000
# The gateway repeats the present step every 5 s; after this silence the stream is lost.
_SILENCE = 30.0
# A start is known to the gateway as soon as its request has arrived, which this request may overtake.
_RETRIES = (0.05, 0.1, 0.2, 0.4, 0.8)


class GatewayApi:
    """Requests to one gateway; an async context manager that owns their connections.

    Every method raises GatewayUnreachable if no answer comes, GatewayRefused if the answer is an error,
    CredentialError if there is no token where it should be: with words for the user. A request that is
    refused with 401 or 403 is sent once more if the credential has changed by then.

    Args:
        credentials: the source of the token, where it is not what `config` names.
    """

    def __init__(self, config: GatewayConfig, *, credentials: RequestHeaders | None = None) -> None:
        self.config = config
        self.credentials: RequestHeaders = credentials or Credentials(config)
        self._transport = Transport(config, self.credentials)

    async def __aenter__(self) -> GatewayApi:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        await self._transport.close()

    async def kernelspecs(self) -> KernelSpecs:
        """Return the kernels that the gateway offers to this user."""
        async with self._transport.request("GET", "/api/kernelspecs") as response:
            specs = specs_of(await _json_of(response))
            if specs is None:
                raise answers.not_a_gateway(answers.Answer.of(response))
            return specs

    async def logo(self, path: str) -> bytes:
        """Return the file of a logo, of at most 1 MiB.

        Args:
            path: from a kernelspec's `logos`: a path at the gateway's host, which has the base path already.
        """
        parts = urlsplit(self.config.url)
        url = urlunsplit((parts.scheme, parts.netloc, quote(path, safe="/%:@!$&'()*+,;=~"), "", ""))
        async with self._transport.request("GET", url) as response:
            return await answers.body_of(response, answers.LARGEST_LOGO)

    async def start(
        self, name: str, kernel_id: str, env: Mapping[str, str], *, timeout: float | None = None
    ) -> dict[str, Any]:
        """Start a kernel and return its model once it is up; some gateways choose another `id`.

        Args:
            kernel_id: a new UUID, so that the progress can be followed and the start cancelled meanwhile.
            env: the variables of the kernel, KERNEL_* among them.
            timeout: seconds until the kernel must be up; None leaves that to the gateway.
        """
        body = {"name": name, "kernel_id": kernel_id, "env": dict(env)}
        async with self._transport.request(
            "POST", "/api/kernels", json=body, seconds=timeout
        ) as response:
            return self._kernel_of(await _json_of(response), response)

    async def kernels(self) -> list[dict[str, Any]]:
        """Return the models of the kernels that this user may see."""
        async with self._transport.request("GET", "/api/kernels") as response:
            models = await _json_of(response)
            if not isinstance(models, list):
                raise answers.not_a_gateway(answers.Answer.of(response))
            return [self._kernel_of(model, response) for model in models[:_MOST_KERNELS]]

    async def kernel(self, kernel_id: str) -> dict[str, Any] | None:
        """Return the model of a kernel; None if no such kernel exists for this user."""
        try:
            async with self._transport.request("GET", _path_of(kernel_id)) as response:
                model = await _json_of(response)
                return self._kernel_of(model, response)
        except GatewayRefused as error:
            if error.status == 404:
                return None
            raise

    async def interrupt(self, kernel_id: str) -> None:
        """Interrupt what the kernel runs."""
        await self._post(f"{_path_of(kernel_id)}/interrupt")

    async def restart(self, kernel_id: str, *, timeout: float | None = None) -> None:
        """Restart the kernel; returns when it is up again, which may take as long as a start.

        Args:
            timeout: seconds until then; None leaves that to the gateway.
        """
        await self._post(f"{_path_of(kernel_id)}/restart", seconds=timeout)

    async def delete(self, kernel_id: str) -> None:
        """Shut the kernel down, or cancel its start; nothing is wrong if it does not exist any longer."""
        try:
            async with self._transport.request("DELETE", _path_of(kernel_id)):
                pass
        except GatewayRefused as error:
            if error.status != 404:
                raise

    async def progress(self, kernel_id: str) -> AsyncIterator[ProgressStep]:
        """Yield the steps of the kernel's start or restart until it is up or has failed.

        It ends silently where the gateway has no such stream, or the stream breaks: the answer to the start
        says how it went.
        """
        for pause in (*_RETRIES, None):
            try:
                async for step in self._steps(kernel_id):
                    yield step
                    if step.ready or step.failed:
                        return
            except GatewayRefused as error:
                if error.status != 404 or pause is None:
                    return
                await asyncio.sleep(pause)
            except ClientError:
                return
            else:
                return

    async def websocket(
        self, kernel_id: str, session_id: str, *, confirm: bool = True
    ) -> GatewayWebsocket:
        """Open a websocket to the kernel's channels, which speaks SUBPROTOCOL; messages may be of any size.

        Args:
            session_id: of the client; the same one gets the output of the time without a connection.
            confirm: whether to ask for the gateway's feature `confirm`; the result's `features` say whether
                the gateway has it.
        """
        query = f"session_id={quote(session_id, safe='')}" + (
            "&features=confirm" if confirm else ""
        )
        path = f"{_path_of(kernel_id)}/channels?{query}"
        return await self._transport.websocket(path, SUBPROTOCOL)

    async def _steps(self, kernel_id: str) -> AsyncIterator[ProgressStep]:
        parser = EventParser()
        async with self._transport.request(
            "GET", f"{_path_of(kernel_id)}/progress", seconds=None, silence=_SILENCE
        ) as response:
            if response.content_type != "text/event-stream":
                return
            with contextlib.suppress(TooLong):
                async for data in response.content.iter_any():
                    for step in parser.feed(data):
                        yield step

    async def _post(self, path: str, *, seconds: float | None = 0) -> None:
        async with self._transport.request("POST", path, json={}, seconds=seconds) as response:
            await answers.body_of(response)

    def _kernel_of(self, model: Any, response: aiohttp.ClientResponse) -> dict[str, Any]:
        kernel_id = model.get("id") if isinstance(model, dict) else None
        if not isinstance(kernel_id, str) or not _KERNEL_ID.fullmatch(kernel_id):
            raise answers.not_a_gateway(answers.Answer.of(response))
        return dict(model)


def _path_of(kernel_id: str) -> str:
    """Return the path of a kernel.

    Raises:
        GatewayRefused: no kernel can have this id, which would lead to another path.
    """
    if not _KERNEL_ID.fullmatch(kernel_id):
        raise GatewayRefused("That is not the id of a kernel.", 404)
    return f"/api/kernels/{kernel_id}"


async def _json_of(response: aiohttp.ClientResponse) -> Any:
    return answers.json_of(await answers.body_of(response), answers.Answer.of(response))
