"""The number of kernels that may run at once: pure.

Several gateways start kernels at once, so the quota is checked when a kernel's pod exists. The API server
reports pods to every watch in the order in which they were made: a gateway that sees its own pod appear
has seen all that came before it, and of two pods that do not both fit, the later one yields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway_provisioners.errors import TooManyKernels
from gateway_provisioners.model.pod.kernel_state import (
    ENDING,
    STATE_ANNOTATION,
    USERNAME_ANNOTATION,
    annotation,
    kernel_id_of,
)
from gateway_provisioners.model.quoting import quoted


@dataclass(frozen=True)
class KernelQuota:
    """The number of kernels that may run, of all users together and of each user; 0: unlimited."""

    most: int = 0
    most_per_user: int = 0

    def __bool__(self) -> bool:
        return bool(self.most or self.most_per_user)

    def refusal(
        self, pods: Iterable[Mapping[str, Any]], *, instance: str, kernel_id: str, username: str
    ) -> TooManyKernels | None:
        """Return the error if one more kernel is too many.

        Args:
            pods: those that came before it, and perhaps its own.
            kernel_id: the kernel to start; its own pods are not counted.
        """
        users = {
            other: annotation(pod, USERNAME_ANNOTATION)
            for pod in pods
            if (other := kernel_id_of(pod, instance)) not in ("", kernel_id)
            and annotation(pod, STATE_ANNOTATION) != ENDING
        }
        if self.most and len(users) >= self.most:
            return TooManyKernels.at_limit(self.most)
        of_user = sum(user == username for user in users.values())
        if self.most_per_user and of_user >= self.most_per_user:
            return TooManyKernels(
                f"A user may run {self.most_per_user} kernels at most, and {quoted(username)} has that "
                "many; shut one down first."
            )
        return None
