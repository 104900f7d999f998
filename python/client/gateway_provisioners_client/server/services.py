"""The objects that the handlers of one server share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from jupyter_server.serverapp import ServerApp

from gateway_provisioners_client.server.gateways import Gateways
from gateway_provisioners_client.server.local_starts import LocalStarts
from gateway_provisioners_client.server.starts import Starts

if TYPE_CHECKING:
    from gateway_provisioners_client.server.managers import ResumedKernels

_KERNEL_ACTIONS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"


class Services:
    """The gateways of a server, and the starts of its kernels.

    Args:
        serverapp: the server.
        resumed: its kernels, if it is in gateway mode.
    """

    def __init__(self, serverapp: ServerApp, resumed: ResumedKernels | None) -> None:
        self.server = serverapp
        self.gateways = Gateways(serverapp, resumed)
        self._tasks: set[asyncio.Future[None]] = set()
        if resumed is not None:
            self.starts = resumed.starts
        else:
            self.starts = Starts()
            self._local_starts = LocalStarts(serverapp, self.gateways, self.starts)
            serverapp.event_logger.add_listener(
                schema_id=_KERNEL_ACTIONS, listener=self._note_action
            )

    async def _note_action(self, data: dict[str, Any], **_: Any) -> None:
        """Follow a kernel that was started or restarted; jupyter_server calls it for each action."""
        kernel_id = data.get("kernel_id")
        if kernel_id and data.get("action") in {"start", "restart"} and data["status"] == "success":
            task = asyncio.ensure_future(self._local_starts.follow(str(kernel_id)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
