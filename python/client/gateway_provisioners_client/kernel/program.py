"""The program from its start to its end: a kernel of this machine that is one of the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from dataclasses import asdict
from typing import Any

from gateway_provisioners_client.errors import ClientError, GatewayRefused
from gateway_provisioners_client.gateway.api import GatewayApi
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.progress import ProgressStep
from gateway_provisioners_client.kernel import info
from gateway_provisioners_client.kernel.connection_file import ConnectionFile
from gateway_provisioners_client.kernel.identities import Identities
from gateway_provisioners_client.kernel.local_channels import LocalChannels
from gateway_provisioners_client.kernel.options import Options
from gateway_provisioners_client.kernel.output import release_stderr
from gateway_provisioners_client.kernel.parent import parent_gone
from gateway_provisioners_client.kernel.plan import Plan
from gateway_provisioners_client.kernel.progress_lines import ProgressLines
from gateway_provisioners_client.kernel.questions import Questions
from gateway_provisioners_client.kernel.starting import carry_out
from gateway_provisioners_client.kernel.state_file import StateFile
from gateway_provisioners_client.kernel.watcher import GRACE_AFTER_KILL, Watcher
from gateway_provisioners_client.session import endings, words
from gateway_provisioners_client.session.connection import RemoteKernel
from gateway_provisioners_client.session.requests import Request
from gateway_provisioners_client.session.state import ConnectionState, Phase

_GRACE_FOR_RESTART = 60.0

# Clients end a kernel that takes longer than 5 s; the watcher goes on.
_SHUTDOWN_SECONDS = 3.0


class Program:
    """Passes messages between local clients and a kernel of the gateway, which it starts and ends.

    Args:
        options: of the command line.
        connection: of the connection file.
        state: the file beside it.
        plan: what has to be done for the kernel.
        watcher: the process that deletes the kernel if this one is killed; None without a gateway.
    """

    def __init__(
        self,
        options: Options,
        connection: ConnectionFile,
        state: StateFile,
        plan: Plan,
        watcher: Watcher | None,
    ) -> None:
        self._options = options
        self._config = options.config or GatewayConfig("http://localhost")
        self._state = state
        self._plan = plan
        self._api = GatewayApi(self._config)
        self._local = LocalChannels(connection, self._take_local)
        self._identities = Identities()
        self._lines = ProgressLines(self._say, self._config.host)
        cache = info.InfoCache(self._config.url, options.kernel_name)
        self._questions = Questions(cache, self._deliver, early=options.shows_progress)
        self._failure = options.problem
        self._steps = 0
        self._is_up = False
        self._is_ending = False
        self._end = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watcher = watcher
        self._remote = RemoteKernel(
            self._api,
            plan.kernel_id,
            plan.session_id,
            deliver=self._deliver,
            state=self._note_state,
            room=self._local.flushed,
        )

    async def run(self) -> None:
        """Be the kernel until a client, or the end of the client, ends it.

        Raises:
            ClientError: the connection file's addresses cannot be bound.
        """
        await self._local.bind()
        self._catch_signals()
        async with self._api:
            if not self._failure:
                self._begin(self._remote.send("shell", self._questions.own()))
                self._begin(self._bring_up())
            self._begin(self._end_with_parent())
            await self._end.wait()
            for task in self._tasks:
                task.cancel()
            await self._remote.close()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._local.close()

    def _begin(self, work: Any) -> None:
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def catch(name: str, act: Any) -> None:
            if number := getattr(signal, name, None):
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(act))

        catch("SIGINT", lambda: self._begin(self._interrupt()))
        catch("SIGTERM", self._take_sigterm)
        catch("SIGBREAK", lambda: self._begin(self._leave()))

    def _take_sigterm(self) -> None:
        # A second one ends this process at once; the watcher goes on.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._begin(self._leave())

    # The kernel of the gateway.

    async def _bring_up(self) -> None:
        following = asyncio.ensure_future(self._follow_start())
        if self._plan.abandoned:
            self._begin(self._abandon(self._plan.abandoned))
        try:
            kernel_id = await carry_out(self._plan, self._api, self._options)
        except ClientError as error:
            self._fail(error)
            return
        finally:
            following.cancel()
        if kernel_id != self._plan.kernel_id:
            self._plan.kernel_id = kernel_id
            self._remote.kernel_id = kernel_id
        self._expect()
        up = ProgressStep("ready", "The kernel is up.", ready=True)
        self._keep_state(starting=False, step=self._numbered(up))
        self._is_up = True
        self._lines.end(is_up=True)
        await self._remote.run()

    async def _abandon(self, kernel_id: str) -> None:
        with contextlib.suppress(ClientError):
            await self._api.delete(kernel_id)

    async def _follow_start(self) -> None:
        if self._plan.attach:
            return
        async for step in self._api.progress(self._plan.kernel_id):
            if step.ready or step.failed:
                return  # the answer to the start says it for all gateways
            self._keep_state(step=self._numbered(step))
            if self._options.shows_progress:
                self._lines.step(step)

    def _numbered(self, step: ProgressStep) -> dict[str, object]:
        self._steps += 1
        return {"number": self._steps, **asdict(step)}

    def _fail(self, error: ClientError) -> None:
        """Have every cell say why there is no kernel."""
        reason = error.reason if isinstance(error, GatewayRefused) else ""
        self._failure = f"{error}\nRestart the kernel to try again."
        step = ProgressStep("failed", str(error), failed=True, reason=reason)
        self._keep_state(starting=False, step=self._numbered(step))
        self._lines.end(is_up=False)
        self._expect(repeat=not reason)
        self._questions.answer_all(info.without_kernel(self._failure))
        self._remote.abort_unsent("KernelNotStarted", self._failure)

    def _expect(self, *, repeat: bool = False) -> None:
        """Have the watcher delete the kernel if this process ends without a word."""
        if self._watcher is not None and not self._plan.attach:
            self._watcher.expect(self._plan.kernel_id, grace=GRACE_AFTER_KILL, repeat=repeat)

    def _keep_state(self, **fields: object) -> None:
        self._state.update(kernel_id=self._plan.kernel_id, **fields)

    def _note_state(self, state: ConnectionState) -> None:
        if state.phase is Phase.GONE:
            self._failure = state.reason
            self._is_up = False

    # From local clients.

    async def _take_local(self, channel: str, identities: list[bytes], parts: list[bytes]) -> None:
        header = words.short_header(parts[0])
        msg_type = words.text_of(header, "msg_type")
        self._identities.note(words.text_of(header, "msg_id"), identities)
        if msg_type == "shutdown_request":
            await self._take_shutdown(channel, parts)
        elif msg_type == "interrupt_request":
            self._begin(self._take_interrupt(channel, parts[0]))
        elif msg_type == "kernel_info_request" and not self._is_up:
            self._questions.take(channel, parts[0], self._failure)
        elif self._failure:
            request = Request.of(channel, parts[0], b"")
            for answer_channel, answer in endings.failed(
                request, "KernelNotStarted", self._failure
            ):
                self._deliver(answer_channel, answer)
        else:
            if not self._is_up and msg_type == "execute_request":
                self._deliver("iopub", words.status(parts[0], "busy"))
                self._lines.cell(parts[0])
            await self._remote.send(channel, parts)

    async def _take_shutdown(self, channel: str, parts: list[bytes]) -> None:
        with contextlib.suppress(ValueError, RecursionError):
            content = json.loads(parts[3])
            restart = isinstance(content, dict) and content.get("restart") is True
            await self._shut_down(restart=restart, request=(channel, parts[0]))

    async def _shut_down(self, *, restart: bool, request: tuple[str, bytes] | None = None) -> None:
        """End this process, and the kernel unless the next process restarts it."""
        if self._is_ending:
            return
        self._is_ending = True
        release_stderr()
        try:
            await self._part_with_kernel(restart=restart, request=request)
        finally:
            self._end.set()

    async def _part_with_kernel(self, *, restart: bool, request: tuple[str, bytes] | None) -> None:
        starting = not self._is_up and not self._failure
        announced = restart
        # The next process has nothing to restart.
        restart = restart and self._is_up
        if self._watcher is not None:
            grace = _GRACE_FOR_RESTART if restart else 0.0
            attached = self._plan.attach and restart
            kernel_id = "" if attached else self._plan.kernel_id
            self._watcher.expect(kernel_id, grace=grace, repeat=starting)
            if not restart:
                self._state.remove()
                await self._delete(is_certain=not starting)
        if request is not None:
            channel, header = request
            content = {"status": "ok", "restart": announced}
            self._deliver("iopub", words.message("shutdown_reply", header, content))
            self._deliver(channel, words.message("shutdown_reply", header, content))

    async def _delete(self, *, is_certain: bool) -> None:
        """Delete the kernel; the watcher does it if this takes too long, or cannot be known."""
        with contextlib.suppress(ClientError, asyncio.TimeoutError):
            await asyncio.wait_for(self._api.delete(self._plan.kernel_id), _SHUTDOWN_SECONDS)
            if is_certain and self._watcher is not None:
                self._watcher.expect("", grace=0)

    async def _end_with_parent(self) -> None:
        await parent_gone()
        await self._leave()

    async def _leave(self) -> None:
        """End this process as its client has ended, or wants it to end without a word about the kernel."""
        if self._plan.attach:
            release_stderr()
            self._end.set()
        else:
            await self._shut_down(restart=False)

    async def _take_interrupt(self, channel: str, header: bytes) -> None:
        problem = await self._interrupt()
        content = words.error("InterruptFailed", problem) if problem else {"status": "ok"}
        self._deliver(channel, words.message("interrupt_reply", header, content))

    async def _interrupt(self) -> str:
        """Interrupt the kernel; return why that was not possible, or ""."""
        if not self._is_up:
            self._remote.abort_unsent(
                "KeyboardInterrupt", "Interrupted before the kernel was up.", cells_only=True
            )
            return ""
        try:
            await self._api.interrupt(self._plan.kernel_id)
        except ClientError as error:
            return str(error)
        return ""

    # To local clients.

    def _say(self, header: bytes, text: str) -> None:
        self._deliver("iopub", words.stream(header, text))

    def _deliver(self, channel: str, parts: list[bytes]) -> None:
        if self._questions.is_answer(channel, parts):
            return
        if channel == "iopub":
            self._local.publish(parts)
            return
        parent_id = words.text_of(words.short_header(parts[1]), "msg_id")
        identities = self._identities.of(parent_id)
        if identities is not None:
            self._local.reply(channel, identities, parts)


def run(
    options: Options,
    connection: ConnectionFile,
    state: StateFile,
    plan: Plan,
    watcher: Watcher | None,
) -> None:
    """Run the program to its end.

    Raises:
        ClientError: the connection file's addresses cannot be bound.
    """

    async def main() -> None:
        await Program(options, connection, state, plan, watcher).run()

    # pyzmq needs a loop of this kind, which is not the usual one on Windows.
    loop = asyncio.SelectorEventLoop() if sys.platform == "win32" else asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main())
    finally:
        loop.close()
