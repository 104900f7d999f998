"""`GET /api/kernels/ID/progress`: the progress of a start, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from functools import partial

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web
from tornado.iostream import StreamClosedError

from gateway_provisioners.aio import within
from gateway_provisioners.gateway.http.credential_watch import CredentialWatch
from gateway_provisioners.gateway.http.handlers import GatewayHandlerMixin
from gateway_provisioners.gateway.http.progress_streams import ProgressStream
from gateway_provisioners.gateway.identity.identity import Identity
from gateway_provisioners.model.launch_progress import LaunchProgress, Phase, Stage, Step
from gateway_provisioners.model.ownership import Access

# How often the present step is repeated, with its age: proxies close connections on which nothing comes.
REPEAT_SECONDS = 5.0
# How long a client may take to read what was sent.
_READ_SECONDS = 60.0
_UP = Stage(Phase.READY, "The kernel is up.")


class ProgressHandler(GatewayHandlerMixin, APIHandler):
    """Streams the steps of the last start or restart: those that were, then each new one, until the last.

    Each event is JSON with the keys of JupyterHub's progress API: `message`, and `ready` or `failed` at the
    end.
    """

    auth_resource = "kernels"
    _stream: ProgressStream | None = None
    _is_expelled = False

    @web.authenticated
    @authorized
    async def get(self, kernel_id: str) -> None:
        """Stream the progress of the kernel; the answer ends when it is up or has failed."""
        progress = self.settings["kernel_manager"].progress_of(kernel_id)
        # The shared token is many users', so each kernel counts as one.
        with self.settings["progress_streams"].open(self.identity.name or kernel_id) as stream:
            self.set_header("Content-Type", "text/event-stream")
            self.set_header("Cache-Control", "no-cache")
            self.set_header("X-Accel-Buffering", "no")  # nginx would keep events back
            if progress is None:
                self.write(_event(_UP))
                return
            self._stream = stream
            watch = CredentialWatch(
                self.identity,
                partial(
                    self.settings["authenticator"].identify_again,
                    self.settings["authenticator"].credential_of(self.request),
                ),
                changed=self._take_identity,
                ended=self._expel,
            )
            unsubscribe = progress.subscribe(stream.changed)
            try:
                await self._send(kernel_id, progress, stream)
            finally:
                unsubscribe()
                watch.close()
                self._stream = None

    async def find_kernel(self, kernel_id: str) -> None:
        """Look for a kernel, but do not wait for the end of a start by this gateway."""
        if self.access_to(kernel_id) is Access.NONE:
            await super().find_kernel(kernel_id)

    def on_connection_close(self) -> None:
        """End the stream of a client that has left."""
        if self._stream is not None:
            self._stream.close()
        super().on_connection_close()

    def _expel(self) -> None:
        """End the stream of a client whose credential is not valid any longer."""
        self._is_expelled = True
        if self._stream is not None:
            self._stream.close()

    def _take_identity(self, identity: Identity) -> None:
        self.identity = identity

    async def _send(self, kernel_id: str, progress: LaunchProgress, stream: ProgressStream) -> None:
        sent = 0
        while self._may_follow(kernel_id, progress):
            new = [step for step in progress.steps if step.number > sent]
            if stream.is_closed and not new:
                return
            for step in new or progress.steps[-1:]:
                self.write(_event_of_step(progress, step))
            sent = new[-1].number if new else sent
            if not await self._is_read():
                return
            if progress.has_ended and not _has_after(progress, sent):
                return
            await stream.wait(REPEAT_SECONDS, partial(_has_after, progress, sent))

    def _may_follow(self, kernel_id: str, progress: LaunchProgress) -> bool:
        """Return whether the client may still see the kernel; a start that failed has ended anyway."""
        if self._is_expelled:
            return False
        kernels = self.settings["kernel_manager"]
        if kernels.progress_of(kernel_id) is not progress:
            return True
        return self.access_to(kernel_id) is not Access.NONE

    async def _is_read(self) -> bool:
        try:
            await within(_READ_SECONDS, self.flush())
        except (StreamClosedError, asyncio.TimeoutError):
            return False
        return True


def _has_after(progress: LaunchProgress, number: int) -> bool:
    return progress.current is not None and progress.current.number > number


def _event_of_step(progress: LaunchProgress, step: Step) -> str:
    later = [each for each in progress.steps if each.number == step.number + 1]
    until = later[0].since if later else None
    seconds = progress.seconds_since(step) if until is None else until - step.since
    return _event(step.stage, None if step.is_last else seconds)


def _event(stage: Stage, seconds: float | None = None) -> str:
    """Return a server-sent event; JSON keeps line breaks out of it, which would end it."""
    fields: dict[str, object] = {"phase": stage.phase.value, "message": stage.message}
    if seconds is not None:
        fields["seconds"] = round(seconds, 1)
    if stage.reason:
        fields["reason"] = stage.reason
    if stage.phase is Phase.READY:
        fields["ready"] = True
    if stage.phase is Phase.FAILED:
        fields["failed"] = True
    return f"data: {json.dumps(fields)}\n\n"
