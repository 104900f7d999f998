"""The HTTP API of the JupyterLab extension, below `gateway-provisioners` of a Jupyter server."""

from __future__ import annotations

import json
import re
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.iostream import StreamClosedError

from gateway_provisioners_client.errors import ClientError, GatewayRefused
from gateway_provisioners_client.gateway.words import clean, in_one_line
from gateway_provisioners_client.server.running import RunningKernels
from gateway_provisioners_client.server.services import Services
from gateway_provisioners_client.server.starts import Event

_ID = r"(?P<kernel_id>[A-Za-z0-9_.-]{1,128})"
_MOST_STREAMS = 64
# Shorter than what a watcher takes for a dead connection, and than proxies keep one without traffic.
_COMMENT_SECONDS = 15.0
_USAGE = ("memory", "memory_limit", "cpu", "cpu_limit")


class _Handler(APIHandler):
    auth_resource = "kernels"

    @property
    def services(self) -> Services:
        """The gateways and the starts of this server."""
        services: Services = self.settings["gateway_provisioners_client"]
        return services

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with the gateway's own words where they are the cause."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, ClientError):
            self.set_status(error.status if isinstance(error, GatewayRefused) else 503)
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps({"message": str(error), "reason": getattr(error, "reason", "")}))
            return
        super().write_error(status_code, **kwargs)


class KernelHandler(_Handler):
    """`kernels/ID`: the gateway of a kernel, and what the kernel uses."""

    @web.authenticated
    @authorized
    async def get(self, kernel_id: str) -> None:
        """Answer with the kernel's state at its gateway; 404 for a kernel that is not at one."""
        found = await self.services.gateways.gateway_of(kernel_id)
        model = await found[0].kernel(found[1]) if found is not None else None
        if found is None or model is None:
            raise web.HTTPError(404, "The kernel is not at a gateway.")
        gateway, remote_id = found
        self.finish(
            json.dumps(
                {
                    "gateway": {"name": gateway.config.name, "url": gateway.config.url},
                    "remote_id": remote_id,
                    "usage": _usage_of(model.get("usage")),
                    "reason": clean(model.get("reason")),
                    "node": in_one_line(model.get("node"), 256),
                    "image": in_one_line(model.get("image"), 1024),
                    "state": in_one_line(model.get("execution_state"), 64),
                }
            )
        )


class RunningHandler(_Handler):
    """`running`: the kernels that run at the server's gateways."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """List them."""
        self.finish(json.dumps(await RunningKernels(self.services).all()))


class RunningKernelHandler(_Handler):
    """`running/ID`: a kernel by its id at the gateway."""

    @web.authenticated
    @authorized
    async def delete(self, kernel_id: str) -> None:
        """Shut it down."""
        await RunningKernels(self.services).shut_down(kernel_id)
        self.set_status(204)
        self.finish()


class AttachHandler(_Handler):
    """`running/ID/attach`: makes a kernel that runs at a gateway one of this server's."""

    @web.authenticated
    @authorized
    async def post(self, kernel_id: str) -> None:
        """Answer with its id in this server: notebooks and consoles can be opened on it."""
        body = self.get_json_body() or {}
        path = body.get("path") if isinstance(body, dict) else None
        if not isinstance(path, (str, type(None))):
            raise web.HTTPError(400, "path must be a string.")
        local_id = await RunningKernels(self.services).attach(kernel_id, path)
        self.finish(json.dumps({"id": local_id}))


class StartsHandler(_Handler):
    """`starts`: the starts of this server's kernels, as server-sent events."""

    _streams = 0
    _has_left = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Stream the starts that are under way and those to come; with `?after=N`, all since event N."""
        starts = self.services.starts
        after = self.get_query_argument("after", "")
        number = int(after) if re.fullmatch(r"[0-9]{1,15}", after) else -1
        if StartsHandler._streams >= _MOST_STREAMS:
            raise web.HTTPError(429, "Too many pages watch the starts of this server.")
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Accel-Buffering", "no")  # nginx would keep events back
        StartsHandler._streams += 1
        try:
            if not 0 <= number <= starts.last:
                number = starts.last
                await self._send(starts.under_way())
            while not self._has_left:
                events = starts.after(number)
                if events:
                    number = events[-1][0]
                await self._send(events)
                await starts.wait(number, _COMMENT_SECONDS)
        except StreamClosedError:
            return
        finally:
            StartsHandler._streams -= 1

    def on_connection_close(self) -> None:
        """End the stream of a page that has left."""
        self._has_left = True
        super().on_connection_close()

    async def _send(self, events: list[Event]) -> None:
        for number, event in events:
            self.write(f"id: {number}\ndata: {json.dumps(event)}\n\n")
        if not events:
            self.write(": \n\n")
        await self.flush()


def _usage_of(usage: Any) -> dict[str, float | None] | None:
    if not isinstance(usage, dict):
        return None
    values = ((name, usage.get(name)) for name in _USAGE)
    return {
        name: value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        for name, value in values
    }


def handlers_of(base_url: str) -> list[tuple[str, Any]]:
    """Return the handlers with their paths."""
    base = url_path_join(re.escape(base_url), "gateway-provisioners")
    return [
        (f"{base}/kernels/{_ID}", KernelHandler),
        (f"{base}/starts", StartsHandler),
        (f"{base}/running", RunningHandler),
        (f"{base}/running/{_ID}", RunningKernelHandler),
        (f"{base}/running/{_ID}/attach", AttachHandler),
    ]
