"""The messages that a client takes: their size, and whether they may be binary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

# tornado.websocket's default, which a Jupyter server's client of gateways does not change.
_JUPYTER_SERVER_BYTES = 10 * 2**20
_GATEWAY_CLIENT = re.compile(
    r"[A-Za-z0-9._-]{1,64}/[A-Za-z0-9._+-]{1,64}\s*;\s*max-message=([1-9][0-9]{0,14})"
)


class ClientLimit(NamedTuple):
    """The messages that a client takes.

    Attributes:
        max_bytes: the largest message; 0 for any.
        whose: who sets that limit.
        text_only: whether a message with binary buffers ends its reading, as in a stock Jupyter server.
    """

    max_bytes: int
    whose: str
    text_only: bool = False


def client_limit(headers: Mapping[str, str], subprotocol: str | None) -> ClientLimit:
    """Return what a client takes, by the headers of its request.

    A client of ours says it: `X-Gateway-Client: NAME/VERSION; max-message=BYTES`. A stock Jupyter server
    that uses this gateway is known by its user agent, and by not offering a subprotocol.
    """
    if stated := _GATEWAY_CLIENT.fullmatch(headers.get("X-Gateway-Client", "").strip()):
        return ClientLimit(int(stated[1]), "its client")
    if subprotocol is None and headers.get("User-Agent", "").startswith("Tornado/"):
        whose = "the Jupyter server in front of the gateway"
        return ClientLimit(_JUPYTER_SERVER_BYTES, whose, text_only=True)
    return ClientLimit(0, "")
