"""The starts of kernels by gateway kernelspecs: their programs write each step into their state files."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from jupyter_server.serverapp import ServerApp

from gateway_provisioners_client.gateway.progress import ProgressStep
from gateway_provisioners_client.gateway.words import clean, in_one_line
from gateway_provisioners_client.server.gateways import Gateways
from gateway_provisioners_client.server.starts import Start, Starts

# Files have no event that every system knows; only starts that are under way are looked at.
_LOOK_SECONDS = 0.25
# A start's message says how long it has taken.
_REPEAT_SECONDS = 5.0
_LONGEST_START = 3700.0
_MOST_REMEMBERED = 1000


class LocalStarts:
    """Follows the starts of a server's own kernels that run at a gateway."""

    def __init__(self, serverapp: ServerApp, gateways: Gateways, starts: Starts) -> None:
        self._server = serverapp
        self._gateways = gateways
        self._starts = starts
        self._owners: OrderedDict[str, str] = OrderedDict()

    async def follow(self, kernel_id: str) -> None:
        """Show the steps of a kernel's start until it is up, has failed or is not there any longer."""
        known = self._gateways.spec_of(kernel_id)
        if known is None:
            return
        name, config = known
        start = Start(self._starts, kernel_id, in_one_line(name), "", config.name)
        start.step(ProgressStep("requested", "The gateway is asked for the kernel.", 0.0))
        clock = asyncio.get_running_loop().time
        began = shown = clock()
        last: dict[str, Any] = {}
        while not start.has_ended and clock() - began < _LONGEST_START:
            if kernel_id not in self._server.kernel_manager:
                start.failed("", "The start was given up.")
                return
            state = await self._gateways.state_of(kernel_id)
            # A restart finds the file of the process before.
            if state is not None and state.owner != self._owners.get(kernel_id):
                if not state.is_starting:
                    self._remember(kernel_id, state.owner)
                    _end(start, state.step)
                elif state.step and (state.step != last or clock() - shown > _REPEAT_SECONDS):
                    last, shown = state.step, clock()
                    _show(start, state.step)
            await asyncio.sleep(_LOOK_SECONDS)

    def _remember(self, kernel_id: str, owner: str) -> None:
        self._owners[kernel_id] = owner
        if len(self._owners) > _MOST_REMEMBERED:
            self._owners.popitem(last=False)


def _end(start: Start, step: dict[str, Any]) -> None:
    if step.get("failed") is True:
        start.failed(in_one_line(step.get("reason"), 64), clean(step.get("message")))
    else:
        start.ready()


def _show(start: Start, step: dict[str, Any]) -> None:
    seconds = step.get("seconds")
    start.step(
        ProgressStep(
            in_one_line(step.get("phase"), 64),
            clean(step.get("message")),
            float(seconds) if isinstance(seconds, (int, float)) else None,
            ready=step.get("ready") is True,
            failed=step.get("failed") is True,
            reason=in_one_line(step.get("reason"), 64),
        )
    )
