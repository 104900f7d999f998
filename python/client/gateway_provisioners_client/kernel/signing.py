"""Signatures of messages between this program and Jupyter clients of this machine."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Sequence

# Each message is taken once, as jupyter_client's sessions have it.
_REMEMBERED = 65_536

_SIGNED_PARTS = 4


class Signer:
    """Signs messages and checks signatures.

    Args:
        key: of the connection file; b"": messages are not signed.
        digest: the name of the hash.
    """

    def __init__(self, key: bytes, digest: str) -> None:
        self._hmac = hmac.new(key, digestmod=digest) if key else None
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def sign(self, parts: Sequence[bytes | memoryview]) -> bytes:
        """Return the signature of header, parent header, metadata and content; not of the buffers."""
        if self._hmac is None:
            return b""
        signature = self._hmac.copy()
        for part in parts[:_SIGNED_PARTS]:
            signature.update(part)
        return signature.hexdigest().encode()

    def is_genuine(self, signature: bytes, parts: Sequence[bytes]) -> bool:
        """Return whether a message is of a client that knows the key, and came for the first time."""
        if self._hmac is None:
            return True
        if not hmac.compare_digest(signature, self.sign(parts)) or signature in self._seen:
            return False
        self._seen[signature] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True
