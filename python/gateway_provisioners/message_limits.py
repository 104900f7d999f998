"""The largest messages between clients and kernels."""

from __future__ import annotations

from traitlets.config import LoggingConfigurable

from gateway_provisioners.settings import from_env

_SMALLEST = 2**20


class MessageLimits(LoggingConfigurable):
    """The largest message in each direction; what is larger is replaced by words."""

    from_kernel = from_env(
        "GP_MAX_MESSAGE_FROM_KERNEL_BYTES",
        32 * 2**20,
        "The largest message that a kernel can send to its clients, such as one output.",
        unit="bytes",
        min=_SMALLEST,
    )
    to_kernel = from_env(
        "GP_MAX_MESSAGE_TO_KERNEL_BYTES",
        32 * 2**20,
        "The largest message that a client can send to its kernel, such as one cell.",
        unit="bytes",
        min=_SMALLEST,
    )
