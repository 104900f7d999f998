"""Jupyter's connection file: the addresses that a kernel binds, and the key of its messages."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway_provisioners_client.errors import ConfigurationError

CHANNELS = ("shell", "control", "stdin", "iopub", "hb")

_LARGEST = 64 * 1024


@dataclass(frozen=True)
class ConnectionFile:
    """The content of a connection file.

    Attributes:
        addresses: of each channel, for 0MQ.
        key: of the signatures; b"" if messages are not signed.
        digest: the name of the hash of the signatures.
        curve_keys: the public and the secret key of encrypted channels; None without encryption.
    """

    addresses: dict[str, str]
    key: bytes
    digest: str
    curve_keys: tuple[bytes, bytes] | None = None


def read(path: str) -> ConnectionFile:
    """Return the content of a connection file.

    Raises:
        ConfigurationError: it cannot be used; the text has none of its content.
    """
    try:
        with Path(path).open("rb") as file:
            content = json.loads(file.read(_LARGEST))
    except OSError as error:
        raise ConfigurationError(
            f"The connection file cannot be read: {error.strerror} ({path})."
        ) from None
    except (ValueError, RecursionError):
        raise ConfigurationError(f"The connection file is not valid JSON ({path}).") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"The connection file is not a JSON object ({path}).")
    digest = _text(content, "signature_scheme", "hmac-sha256").removeprefix("hmac-")
    if digest not in hashlib.algorithms_available:
        raise ConfigurationError(f"The connection file names an unknown signature_scheme ({path}).")
    keys = [_text(content, f"curve_{each}", "") for each in ("publickey", "secretkey")]
    curve_keys = (keys[0].encode(), keys[1].encode()) if all(keys) else None
    addresses = {channel: _address(content, channel, path) for channel in CHANNELS}
    return ConnectionFile(addresses, _text(content, "key", "").encode(), digest, curve_keys)


def _address(content: dict[str, Any], channel: str, path: str) -> str:
    transport, ip = _text(content, "transport", "tcp"), _text(content, "ip", "127.0.0.1")
    port = content.get(f"{channel}_port")
    if transport not in ("tcp", "ipc"):
        raise ConfigurationError(f"The transport must be one of: tcp, ipc ({path}).")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port <= 65_535:
        raise ConfigurationError(f"{channel}_port must be a number from 1 to 65535 ({path}).")
    return f"tcp://{ip}:{port}" if transport == "tcp" else f"ipc://{ip}-{port}"


def _text(content: dict[str, Any], key: str, default: str) -> str:
    value = content.get(key, default)
    return value if isinstance(value, str) else default
