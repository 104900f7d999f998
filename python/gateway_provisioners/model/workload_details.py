"""The facts about a kernel's pod or container that its users may know: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WorkloadDetails:
    """A kernel's place, image and limits, as far as the engine has reported them.

    Attributes:
        node: the name of the machine that it runs on, or its id in a Swarm; "" if unknown.
        image: its image, as the kernelspec or the client named it; "" if unknown.
        limits: by resource, amounts as Kubernetes writes them.
    """

    node: str = ""
    image: str = ""
    limits: Mapping[str, str] = field(default_factory=dict)
