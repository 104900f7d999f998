"""The kernels of a Jupyter server in gateway mode: also those that were started by another server."""

from __future__ import annotations

import asyncio
import os
import uuid
from typing import Any

from jupyter_server.gateway.gateway_client import GatewayClient, gateway_request
from jupyter_server.gateway.managers import GatewayKernelManager, GatewayMappingKernelManager
from jupyter_server.services.kernels.kernelmanager import emit_kernel_action_event
from jupyter_server.utils import url_escape, url_path_join
from tornado import web
from tornado.escape import json_decode
from traitlets import Bool

from gateway_provisioners_client.errors import ClientError, GatewayRefused
from gateway_provisioners_client.gateway.api import GatewayApi
from gateway_provisioners_client.server.credentials import ServerCredentials, config_of
from gateway_provisioners_client.server.relays import Relays
from gateway_provisioners_client.server.started import StartedKernels
from gateway_provisioners_client.server.starts import Start, Starts

# A gateway may list any number; JupyterLab's panel is of no use long before.
_MOST_KERNELS = 1000
_ASKED_AT_ONCE = 8
# The gateway has a limit of its own, of at most an hour.
_LONGEST_START = 3700.0


class StartFailed(web.HTTPError):
    """A start that failed, in the gateway's words: JupyterLab's dialog shows the text as it is."""

    def __init__(self, status: int, words: str, reason: str) -> None:
        super().__init__(status, words, reason=reason or None)
        self._words = words

    @property
    def log_message(self) -> str:
        """The words, which jupyter_server puts into the answer: tornado would double each percent sign."""
        return self._words

    def __str__(self) -> str:
        return self._words


class ResumedKernel(GatewayKernelManager):
    """One kernel of the gateway, started under an id of our own so that its progress can be followed."""

    parent: ResumedKernels
    # Only kernels that this server has started end with it.
    is_own = False

    def take(self, model: dict[str, Any]) -> None:
        """Manage a kernel that runs."""
        self.kernel_id = str(model["id"])
        self.kernel_name = str(model.get("name") or "")
        self.kernel_url = url_path_join(self.kernels_url, url_escape(self.kernel_id))

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was started.")
    async def start_kernel(self, **kwargs: Any) -> None:
        """Start a kernel, or attach to the one of the `kernel_id` given if the gateway has it.

        Raises:
            HTTPError: in the gateway's words.
        """
        kernel_id = kwargs.get("kernel_id")
        if kernel_id is not None:
            self.take({"id": kernel_id})
            if await self.refresh_model() is not None:
                self.kernel_name = str(self.kernel.get("name") or "")
                return
        kernel_id = str(kernel_id or uuid.uuid4())
        name = str(kwargs.get("kernel_name") or self.parent.default_kernel_name)
        path = str(kwargs.get("path") or "")
        with self.parent.starts.following(self.parent.gateway, kernel_id, name, path) as start:
            try:
                model = await self.parent.gateway.start(
                    name, kernel_id, _environment(kwargs), timeout=_LONGEST_START
                )
            except ClientError as error:
                raise _failed(start, error) from error
            start.ready()
        self.take({"name": name, **model})
        self.is_own = True
        await self.refresh_model(model)
        await asyncio.to_thread(self.parent.started.add, str(self.kernel_id))

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was restarted.")
    async def restart_kernel(self, **_: Any) -> None:
        """Restart the kernel, with its progress for those who follow it."""
        kernel_id, gateway = str(self.kernel_id), self.parent.gateway
        with self.parent.starts.following(gateway, kernel_id, str(self.kernel_name), "") as start:
            try:
                await gateway.restart(kernel_id, timeout=_LONGEST_START)
            except ClientError as error:
                raise _failed(start, error) from error
            start.ready()


class ResumedKernels(GatewayMappingKernelManager):
    """The kernels of a Jupyter server in gateway mode.

    It lists those too that an earlier server of this user has started, or that the gateway says are this
    user's. They do not end with this server, which may be one of several.
    """

    keep_kernels = Bool(
        False,
        config=True,
        help="""Whether kernels that this server has started go on running when it stops.
        By default they end with it, as without gateway-provisioners-client.""",
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        client = GatewayClient.instance()
        self.config_of_gateway = config_of(client)
        self.started = StartedKernels(self.config_of_gateway.url)
        self.starts = Starts()
        self._gateway = GatewayApi(self.config_of_gateway, credentials=ServerCredentials(client))
        self.relays = Relays()
        self._strangers: set[str] = set()

    def _kernel_manager_class_default(self) -> str:
        return f"{ResumedKernel.__module__}.{ResumedKernel.__qualname__}"

    @property
    def gateway(self) -> GatewayApi:
        """Our client of the gateway, with the server's own settings."""
        return self._gateway

    async def start_kernel(
        self, *, kernel_id: str | None = None, path: str | None = None, **kwargs: Any
    ) -> str:
        """Start a kernel, or attach to the gateway's of that id; return its id."""
        if kernel_id is not None and kernel_id in self._kernels:
            return kernel_id
        if kernel_id is None and path is not None:
            kwargs["cwd"] = self.cwd_for_path(path)
        kernel = self.kernel_manager_factory(parent=self, log=self.log)
        await kernel.start_kernel(kernel_id=kernel_id, path=path, **kwargs)
        started: str = kernel.kernel_id
        self._kernels[started] = kernel
        if not self._initialized_culler:
            self.initialize_culler()
        return started

    async def list_kernels(self, **_: Any) -> list[dict[str, Any]]:
        """Return the models of this user's kernels at the gateway."""
        response = await gateway_request(self.kernels_url, method="GET")
        models = json_decode(response.body)
        listed = {str(model["id"]): model for model in models[:_MOST_KERNELS]}
        self._strangers &= set(listed)
        await asyncio.to_thread(self.started.prune, set(listed))
        await self._adopt({id_: m for id_, m in listed.items() if id_ not in self._kernels})
        for kernel_id, kernel in list(self._kernels.items()):
            try:
                # One that is not listed may be, or may be behind a proxy that did not ask every gateway.
                model = await kernel.refresh_model(listed.get(kernel_id))
            except web.HTTPError:
                model = None
            if model is None:
                self.log.warning("Kernel %s has ended, or was culled, at the gateway.", kernel_id)
                self._kernels.pop(kernel_id, None)
        return [kernel.kernel for kernel in self._kernels.values() if kernel.kernel]

    async def find(self, kernel_id: str) -> None:
        """Look for a kernel that an earlier server has started, when a browser comes back to it."""
        try:
            model = await self.gateway.kernel(kernel_id)
        except ClientError:
            return
        if model is not None:
            await self._adopt({kernel_id: model})

    async def _adopt(self, models: dict[str, dict[str, Any]]) -> None:
        started = await asyncio.to_thread(self.started.among, set(models))
        unknown = [id_ for id_ in models if id_ not in started and id_ not in self._strangers]
        for first in range(0, len(unknown), _ASKED_AT_ONCE):
            asked = unknown[first : first + _ASKED_AT_ONCE]
            for kernel_id, is_own in zip(
                asked, await asyncio.gather(*map(self._is_own, asked)), strict=True
            ):
                (started if is_own else self._strangers).add(kernel_id)
        for kernel_id in started:
            kernel = self.kernel_manager_factory(parent=self, log=self.log)
            kernel.take(models[kernel_id])
            self._kernels.setdefault(kernel_id, kernel)

    async def _is_own(self, kernel_id: str) -> bool:
        """Return whether the gateway says that the kernel is this user's: owned, and ours to share."""
        try:
            model = await self.gateway.kernel(kernel_id)
        except ClientError:
            return False
        return model is not None and bool(model.get("owner")) and "share" in model

    async def shutdown_kernel(
        self, kernel_id: str, now: bool = False, restart: bool = False
    ) -> None:
        """Shut a kernel down at the gateway."""
        await super().shutdown_kernel(kernel_id, now=now, restart=restart)
        await asyncio.to_thread(self.started.forget, kernel_id)

    async def shutdown_all(self, now: bool = False) -> None:
        """End the kernels of this server, when it stops; those of other servers go on."""
        await self.relays.close()
        for kernel_id, kernel in list(self._kernels.items()):
            if kernel.is_own and not self.keep_kernels:
                await self.shutdown_kernel(kernel_id, now=now)
            else:
                self.remove_kernel(kernel_id)
        await self.gateway.close()


def _failed(start: Start, error: ClientError) -> StartFailed:
    status, reason = 503, ""
    if isinstance(error, GatewayRefused):
        status, reason = error.status, error.reason
    start.failed(reason, str(error))
    return StartFailed(status, str(error), reason)


def _environment(kwargs: dict[str, Any]) -> dict[str, str]:
    """Return the variables for a kernel, chosen as jupyter_server does in gateway mode."""
    client = GatewayClient.instance()
    if os.environ.get("KERNEL_USERNAME") is None and client.http_user:
        os.environ["KERNEL_USERNAME"] = client.http_user
    allowed = client.allowed_envs.split(",")
    variables = {**os.environ, **kwargs.get("env", {})}
    chosen = {
        name: value
        for name, value in variables.items()
        if name.startswith("KERNEL_") or name in allowed
    }
    if kwargs.get("cwd") is not None:
        chosen.setdefault("KERNEL_WORKING_DIR", str(kwargs["cwd"]))
    return chosen
