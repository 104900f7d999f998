"""The progress of one start of a kernel, step by step, for all who wait for it: no clock of its own."""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# A registry that keeps failing makes a step of each attempt; the last ones are kept.
MOST_STEPS = 32
# Characters of a step's message, part of which is the engine's text; a failure has lines of a log as well.
_LONGEST_MESSAGE = 2048
_LONGEST_FAILURE = 8000


class Phase(str, enum.Enum):
    """The part of a start that a step belongs to; programs read these words."""

    REQUESTED = "requested"
    """Its workload does not exist yet."""
    WAITING_FOR_NODE = "waiting-for-node"
    PREPARING = "preparing"
    """A node prepares volumes, network and other containers."""
    PULLING = "pulling"
    CREATING = "creating"
    """Its container is made; perhaps its image is still being pulled."""
    RUNNING = "running"
    """Its container runs, and its launcher has not reported."""
    REPORTED = "reported"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class Stage:
    """The present state of a workload on its way to a kernel.

    Attributes:
        message: whole sentences for the kernel's user.
        reason: of a failure, and of a condition that keeps it waiting: one CamelCase word; else "".
    """

    phase: Phase
    message: str
    reason: str = ""

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Step:
    """A stage that a start has reached.

    Attributes:
        number: 1 for the first step of a start.
        since: the clock's time when it was reached.
        elapsed: the seconds of the start before it.
    """

    number: int
    stage: Stage
    since: float
    elapsed: float

    @property
    def is_last(self) -> bool:
        """True if the start has ended with it."""
        return self.stage.phase in (Phase.READY, Phase.FAILED)


class LaunchProgress:
    """The steps of one start or restart, oldest first, of which only the last ones are kept.

    Args:
        clock: returns seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._steps: deque[Step] = deque(maxlen=MOST_STEPS)
        self._listeners: list[Callable[[], None]] = []

    @property
    def steps(self) -> Sequence[Step]:
        """The steps that are kept."""
        return tuple(self._steps)

    @property
    def current(self) -> Step | None:
        """The step that the start is at; None before the first one."""
        return self._steps[-1] if self._steps else None

    @property
    def has_ended(self) -> bool:
        """True once the kernel is up, or has failed to start."""
        return self.current is not None and self.current.is_last

    def seconds_since(self, step: Step) -> float:
        """Return how long ago a step was reached."""
        return self._clock() - step.since

    @property
    def seconds(self) -> float:
        """The seconds that the start has taken so far."""
        return self._clock() - self._began

    def enter(self, stage: Stage) -> None:
        """Begin a step, unless it is the present one or the start has ended."""
        longest = _LONGEST_FAILURE if stage.phase is Phase.FAILED else _LONGEST_MESSAGE
        stage = dataclasses.replace(stage, message=stage.message[:longest])
        if self.has_ended or (self.current is not None and self.current.stage == stage):
            return
        number = self.current.number + 1 if self.current else 1
        now = self._clock()
        self._steps.append(Step(number, stage, since=now, elapsed=now - self._began))
        for listener in list(self._listeners):
            listener()

    def up(self) -> Stage:
        """Return the stage of a kernel that is up now."""
        return Stage(Phase.READY, f"The kernel is up after {self.seconds:.1f} s.")

    def succeed(self) -> None:
        """End it: the kernel is up."""
        self.enter(self.up())

    def fail(self, reason: str, message: str) -> None:
        """End it: the kernel could not be started."""
        self.enter(Stage(Phase.FAILED, message, reason))

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` at each new step; returns the function that ends that."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove
