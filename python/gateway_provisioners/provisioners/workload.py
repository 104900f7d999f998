"""What the life of a kernel needs of an engine: one pod or container, and a way to make it.

Kubernetes implements it with `kube.pods.LaunchedPod`; another engine implements the same few methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway_provisioners.model.launch_request import LaunchRequest
from gateway_provisioners.model.pod_status import StartFailure


@dataclass(frozen=True)
class Launch:
    """One attempt at starting one kernel, in no engine's words.

    Attributes:
        attempt: 1 for the start, one more for each restart.
        environment: literal variables of the container; nothing secret.
        secret_environment: the launch key and the client's variables.
    """

    kernel_id: str
    kernel_name: str
    attempt: int
    request: LaunchRequest
    environment: Mapping[str, str]
    secret_environment: Mapping[str, str] = field(repr=False)


class Workload(Protocol):
    """The pod or container of one attempt."""

    name: str

    @property
    def address(self) -> str | None: ...

    @property
    def progress(self) -> str: ...

    @property
    def is_busy_elsewhere(self) -> bool: ...

    def exit_code(self) -> int | None: ...

    def end_cause(self) -> str | None: ...

    async def wait_address(self) -> str: ...

    async def wait_gone(self) -> None: ...

    async def start_failure(self, *, unschedulable_grace: float) -> StartFailure: ...

    async def log_tail(self, lines: int = 20) -> str: ...

    async def remember(self, record: Mapping[str, Any]) -> None: ...

    async def begin_restart(self) -> None: ...

    async def stop(self) -> None: ...

    async def replaced(self) -> None: ...

    async def give_up_restart(self) -> None: ...

    def discard_soon(self) -> None: ...

    async def remove(self, *, grace_seconds: int) -> None: ...

    def forget(self) -> None: ...
