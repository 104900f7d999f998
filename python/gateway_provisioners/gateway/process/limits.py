"""The bounds of the gateway's memory, and the budgets that its connections share."""

from __future__ import annotations

from typing import Any

from traitlets.config import LoggingConfigurable

from gateway_provisioners.contact import Contact
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.process.budget import Budget
from gateway_provisioners.message_limits import MessageLimits
from gateway_provisioners.settings import from_env

# What every connection may hold without asking a budget: small messages always get through.
FREE_BYTES = 64 * 1024
# Messages above this size ask the budget for large ones, in either direction.
LARGE_BYTES = 2**20


class Limits(LoggingConfigurable):
    """The limits of one gateway process.

    Raises:
        ConfigurationError: one client may have more than all of them together.

    Attributes:
        administrator: whom to ask for higher limits, in words.
        messages: the largest message in each direction.
        buffers: the budget of what waits for clients and kernels.
        large: the budget of messages above LARGE_BYTES while they pass through the process, at least one of
            the largest at a time.
    """

    client_buffer_bytes = from_env(
        "GP_CLIENT_BUFFER_BYTES",
        2**20,
        "The most output that waits in the gateway for one client that reads slowly. More waits in the "
        "kernel's pod.",
        unit="bytes",
        min=FREE_BYTES,
    )
    buffer_bytes = from_env(
        "GP_BUFFER_BYTES",
        96 * 2**20,
        "The most that waits in the gateway for all clients and kernels together.",
        unit="bytes",
        min=LARGE_BYTES,
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.client_buffer_bytes > self.buffer_bytes:
            raise ConfigurationError(
                f"GP_CLIENT_BUFFER_BYTES={self.client_buffer_bytes} is more than "
                f"GP_BUFFER_BYTES={self.buffer_bytes}, which is for all clients together; lower the one or "
                f"raise the other."
            )
        self.administrator = Contact(parent=self).administrator
        self.messages = MessageLimits(parent=self)
        self.buffers = Budget(self.buffer_bytes)
        self.large = Budget(max(self.messages.from_kernel, self.messages.to_kernel) + LARGE_BYTES)
