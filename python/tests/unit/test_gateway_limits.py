"""The limits of a gateway process."""

import pytest
from traitlets.config import Config

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.process.limits import Limits

MEBIBYTE = 2**20


def test_one_client_cannot_have_more_than_all_together():
    with pytest.raises(ConfigurationError, match="GP_CLIENT_BUFFER_BYTES=2097152 is more than"):
        Limits(client_buffer_bytes=2 * MEBIBYTE, buffer_bytes=MEBIBYTE)


def test_one_client_can_have_all():
    limits = Limits(client_buffer_bytes=MEBIBYTE, buffer_bytes=MEBIBYTE)
    assert limits.buffers.total == MEBIBYTE


@pytest.mark.parametrize("largest", ["from_kernel", "to_kernel"])
def test_budget_of_large_messages_has_room_for_the_largest(largest):
    config = Config({"MessageLimits": {largest: 64 * MEBIBYTE}})
    limits = Limits(config=config)
    assert limits.large.total > 64 * MEBIBYTE
