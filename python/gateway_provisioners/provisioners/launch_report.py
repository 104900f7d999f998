"""The progress of a launch for administrators: in the log, and as events of the engine."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType

from gateway_provisioners.aio import call_later
from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.launch_progress import LaunchProgress, Phase, Stage, Step
from gateway_provisioners.provisioners.workload import Workload

# A step that takes less time is not worth a line: a quick start has one, about its end.
LASTING_SECONDS = 2.0

_log = logging.getLogger(__name__)


class LaunchReport:
    """Reports each step that lasts, and the outcome, of the launch that the `with` block makes.

    Args:
        kernel: the kernel in log lines.

    Attributes:
        progress: the launch's.
        workload: the kernel's workload, once it exists.
    """

    def __init__(self, progress: LaunchProgress, kernel: str) -> None:
        self.progress = progress
        self._kernel = kernel
        self._timer: asyncio.TimerHandle | None = None
        self.workload: Workload | None = None

    def __enter__(self) -> LaunchReport:
        self._unsubscribe = self.progress.subscribe(self._on_step)
        self._on_step()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._unsubscribe()
        self._stop_timer()
        if error is None:
            up = self.progress.up()
            _log.info("Kernel %s: %s", self._kernel, up.message)
            self._announce(up)
        elif isinstance(error, LaunchFailed):  # which its caller logs
            self._announce(Stage(Phase.FAILED, error.message, error.reason))

    def _on_step(self) -> None:
        self._stop_timer()
        if step := self.progress.current:
            self._timer = call_later(LASTING_SECONDS, self._report, step)

    def _report(self, step: Step) -> None:
        _log.info("Kernel %s is starting. %s", self._kernel, step.stage.message)
        self._announce(step.stage)

    def _announce(self, stage: Stage) -> None:
        if self.workload is not None:
            self.workload.announce(stage)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
