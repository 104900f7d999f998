"""The launcher's side of the wire protocol: bytes out and in, no sockets (protocol/SPEC.md)."""

from __future__ import annotations

import base64
import hmac
import importlib
import json
import os
from typing import TYPE_CHECKING, Any, Protocol

from kernel_launcher import ciphers
from kernel_launcher.errors import BAD_PARAMETER, LaunchError
from kernel_launcher.options import LAUNCH_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHALLENGE_BYTES = 16
CONTEXT = b"gateway-provisioners v2 "


class _Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes: ...


def _aes_gcm() -> tuple[Callable[[bytes], _Aead], type[Exception]]:
    """Return AES-GCM and its error: those of `cryptography`, or ours where it cannot be used."""
    try:
        aead = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
        exceptions = importlib.import_module("cryptography.exceptions")
    except BaseException:  # noqa: BLE001  a panic of its Rust code is not an Exception
        return ciphers.AESGCM, ValueError
    return aead.AESGCM, exceptions.InvalidTag


AESGCM, InvalidTag = _aes_gcm()


class WireError(Exception):
    """The peer's bytes do not follow the protocol; never quotes them."""


class LaunchKey:
    """Seals and opens messages of version 2 with a launch's secret, or with the fresh key that replaces it.

    Args:
        secret: 32 bytes that only the gateway and this launch know.
        kernel_id: binds sealed messages to this kernel.
    """

    def __init__(self, secret: bytes, kernel_id: str) -> None:
        self._secret = secret
        self._kernel_id = kernel_id.encode()
        self._command_key = self._derive(b"command")

    @classmethod
    def fresh(cls, kernel_id: str) -> LaunchKey:
        """Make a key that is in no environment."""
        return cls(os.urandom(LAUNCH_KEY_BYTES), kernel_id)

    @property
    def in_report(self) -> str:
        """The value of the report's `fresh_key`."""
        return _encode(self._secret)

    @property
    def mailbox_key(self) -> bytes:
        """The key that signs attachments to the mailbox."""
        return self._derive(b"mailbox")

    def connection_info(self, info: Mapping[str, Any]) -> bytes:
        """Seal the connection info for the gateway's response server."""
        nonce = os.urandom(ciphers.NONCE_BYTES)
        aad = CONTEXT + b"connection-info " + self._kernel_id
        envelope = {
            "version": 2,
            "kernel_id": self._kernel_id.decode(),
            **_seal(self._derive(b"connection-info"), nonce, aad, {**info, "protocol": 2}),
        }
        return base64.b64encode(_json(envelope))

    def open_command(self, line: bytes, challenge: str) -> dict[str, Any]:
        """Authenticate the gateway's answer to `challenge`.

        Raises:
            WireError: it was not sealed with this launch's key for this challenge, or is not JSON.
        """
        envelope = parse(line)
        if envelope.get("version") != 2:
            raise WireError
        nonce = _decode(envelope.get("nonce"))
        aad = CONTEXT + b"command " + self._kernel_id + b" " + challenge.encode()
        try:
            plain = AESGCM(self._command_key).decrypt(
                nonce, _decode(envelope.get("ciphertext")), aad
            )
        except (InvalidTag, ValueError) as error:
            raise WireError from error
        return parse(plain)

    def reply(self, answer: Mapping[str, Any], challenge: str) -> bytes:
        """Seal the answer to a command, as one line."""
        nonce = os.urandom(ciphers.NONCE_BYTES)
        aad = CONTEXT + b"reply " + self._kernel_id + b" " + challenge.encode()
        return _json({"version": 2, **_seal(self._command_key, nonce, aad, answer)}) + b"\n"

    def _derive(self, purpose: bytes) -> bytes:
        """Derive a key of 32 bytes with HKDF (RFC 5869), which is one block of SHA-256."""
        extracted = hmac.digest(self._kernel_id, self._secret, "sha256")
        return hmac.digest(extracted, CONTEXT + purpose + b"\x01", "sha256")


class GatewayKey:
    """Encrypts reports of version 1 with the gateway's public key.

    Raises:
        LaunchError: the key is not a valid RSA key.
    """

    def __init__(self, public_key: str) -> None:
        try:
            self._key = ciphers.RsaPublicKey(base64.b64decode(public_key))
        except ciphers.NotRsaError as error:
            message = "--public-key (PUBLIC_KEY) is not an RSA key"
            raise LaunchError(BAD_PARAMETER, message) from error
        except ValueError as error:
            raise LaunchError(BAD_PARAMETER, "--public-key (PUBLIC_KEY) cannot be read") from error

    def connection_info(self, info: Mapping[str, Any]) -> bytes:
        """Encrypt the connection info for the gateway's response server.

        Version 1 prescribes AES-128-ECB with PKCS#7 padding and a fresh key, and RSA PKCS#1 v1.5.
        """
        aes_key = os.urandom(16)
        missing = ciphers.BLOCK - len(plain := _json(info)) % ciphers.BLOCK
        ciphertext = ciphers.Aes(aes_key).encrypt(plain + bytes([missing]) * missing)
        envelope = {
            "version": 1,
            "key": _encode(self._key.encrypt(aes_key)),
            "conn_info": _encode(ciphertext),
        }
        return base64.b64encode(_json(envelope))


def new_challenge() -> str:
    """Make a value that no command was ever sealed for."""
    return _encode(os.urandom(CHALLENGE_BYTES))


def challenge_line(challenge: str) -> bytes:
    """Return the launcher's first line on a command connection of version 2."""
    return _json({"version": 2, "challenge": challenge}) + b"\n"


def parse(data: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        WireError: it is not a JSON object.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WireError from error
    if not isinstance(value, dict):
        raise WireError
    return value


def _seal(key: bytes, nonce: bytes, aad: bytes, message: Mapping[str, Any]) -> dict[str, str]:
    ciphertext = AESGCM(key).encrypt(nonce, _json(message), aad)
    return {"nonce": _encode(nonce), "ciphertext": _encode(ciphertext)}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: object) -> bytes:
    if not isinstance(text, str):
        raise WireError
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise WireError from error
