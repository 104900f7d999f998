"""Bytes on the wire <-> connection info and commands (launchers/protocol/SPEC.md).

No sockets and no state here. Whatever a peer sends, these functions raise only ProtocolError, and
no message quotes it.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.features import FRESH_KEY

LAUNCH_KEY_BYTES = 32
NONCE_BYTES = 12
_RSA_BITS = 2048
_V1_KEY_BYTES = 16
_CONTEXT = b"gateway-provisioners v2 "
_KERNEL_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?")
_CHALLENGE = re.compile(r"[A-Za-z0-9+/=]{16,64}")


class GatewayKey:
    """The process's RSA pair, which launchers of protocol version 1 encrypt their key for."""

    def __init__(self, private_key: rsa.RSAPrivateKey) -> None:
        self._private_key = private_key

    @classmethod
    def generate(cls) -> GatewayKey:
        """Make a pair; takes up to a second of CPU, so call it off the event loop."""
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS))

    @property
    def public_key(self) -> str:
        """The value of PUBLIC_KEY: base64 of the DER SubjectPublicKeyInfo, in one line."""
        key = self._private_key.public_key()
        return _encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def unwrap(self, wrapped: bytes) -> bytes:
        """Recover a launcher's AES key.

        Bytes that were not encrypted for this pair yield a random key instead of an error, so that a
        sender learns nothing about the padding (Bleichenbacher's attack).
        """
        substitute = os.urandom(_V1_KEY_BYTES)
        try:
            key = self._private_key.decrypt(wrapped, PKCS1v15())
        except ValueError:
            return substitute
        return key if len(key) == _V1_KEY_BYTES else substitute


def new_launch_key() -> str:
    """Make a launch's secret for protocol version 2: base64 of 32 random bytes."""
    return _encode(os.urandom(LAUNCH_KEY_BYTES))


@dataclass(frozen=True)
class V1Envelope:
    """Version 1: an AES key for the gateway's RSA pair, and connection info under that key."""

    wrapped_key: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


@dataclass(frozen=True)
class V2Envelope:
    """Version 2: connection info sealed with the launch key of `kernel_id`."""

    kernel_id: str
    nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


def parse_envelope(blob: bytes) -> V1Envelope | V2Envelope:
    """Read the envelope of what a launcher sent; nothing is decrypted yet.

    Raises:
        ProtocolError: the bytes are not an envelope of a supported version.
    """
    envelope = _object(_decode(blob.strip()))
    version = envelope.get("version")
    if version == 1:
        return V1Envelope(_bytes(envelope, "key"), _bytes(envelope, "conn_info"))
    if version == 2:
        kernel_id = _kernel_id(envelope)
        return V2Envelope(kernel_id, _nonce(envelope), _bytes(envelope, "ciphertext"))
    raise ProtocolError("the payload's version is not supported")


def open_v1(envelope: V1Envelope, gateway_key: GatewayKey) -> tuple[str, ConnectionInfo]:
    """Decrypt a version 1 payload, which any process that knows the public key could have made.

    Returns:
        The kernel's id as the sender claims it, and the connection info.

    Raises:
        ProtocolError: it was not made for this key, or its content is malformed.
    """
    if len(envelope.ciphertext) % 16 or not envelope.ciphertext:
        raise ProtocolError("the payload's ciphertext is not in blocks")
    key = gateway_key.unwrap(envelope.wrapped_key)
    decryptor = Cipher(AES(key), ECB()).decryptor()  # noqa: S305  prescribed by version 1
    padded = decryptor.update(envelope.ciphertext) + decryptor.finalize()
    unpadder = PKCS7(128).unpadder()
    try:
        plain = unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise ProtocolError("the payload cannot be decrypted") from error
    payload = _object(plain)
    kernel_id = _kernel_id(payload)
    # It arrived as version 1, whatever it says inside, and only version 2 has features.
    return kernel_id, ConnectionInfo.from_payload({**payload, "protocol": 1, "features": None})


def open_v2(envelope: V2Envelope, launch_key: str) -> tuple[ConnectionInfo, str]:
    """Authenticate and decrypt a version 2 payload.

    Returns:
        The connection info, and the key that authenticates commands from now on: the fresh one that
        the launcher sent, in the form of a launch key, else the launch key.

    Raises:
        ProtocolError: it was not sealed with this launch's key, or its content is malformed.
    """
    kernel_id = envelope.kernel_id.encode()
    key = _derive(launch_key, envelope.kernel_id, b"connection-info")
    aad = _CONTEXT + b"connection-info " + kernel_id
    payload = _unseal(key, envelope.nonce, envelope.ciphertext, aad)
    if payload.get("kernel_id") != envelope.kernel_id:
        raise ProtocolError("the payload is for another kernel")
    info = ConnectionInfo.from_payload({**payload, "protocol": 2})
    return info, _fresh_key(payload) if FRESH_KEY in info.features else launch_key


def mailbox_key(fresh_key: str, kernel_id: str) -> bytes:
    """Return the key that signs attachments to the mailbox of a launcher with a fresh key."""
    return _derive(fresh_key, kernel_id, b"mailbox")


def attempt_name(launch_key: str, kernel_id: str) -> str:
    """Return a name of a launch, which says nothing about its key: 32 hexadecimal digits."""
    purpose = _CONTEXT + f"attempt {kernel_id}".encode()
    return hmac.digest(launch_key.encode(), purpose, "sha256")[:16].hex()


def parse_challenge(line: bytes) -> str:
    """Read the first line of a version 2 launcher on its communication port.

    Raises:
        ProtocolError: it is not a challenge.
    """
    challenge = _object(line).get("challenge")
    if not isinstance(challenge, str) or not _CHALLENGE.fullmatch(challenge):
        raise ProtocolError("the launcher did not send a valid challenge")
    return challenge


def seal_command(
    command: Mapping[str, Any], launch_key: str, kernel_id: str, challenge: str
) -> bytes:
    """Seal a command, as one line, for the launcher that sent `challenge`."""
    key = _derive(launch_key, kernel_id, b"command")
    nonce = os.urandom(NONCE_BYTES)
    aad = _CONTEXT + f"command {kernel_id} {challenge}".encode()
    ciphertext = AESGCM(key).encrypt(nonce, json.dumps(command).encode(), aad)
    sealed = {"version": 2, "nonce": _encode(nonce), "ciphertext": _encode(ciphertext)}
    return json.dumps(sealed).encode() + b"\n"


def open_reply(line: bytes, launch_key: str, kernel_id: str, challenge: str) -> dict[str, Any]:
    """Authenticate the launcher's answer to a command.

    Raises:
        ProtocolError: it does not come from this launch, or answers another command.
    """
    key = _derive(launch_key, kernel_id, b"command")
    aad = _CONTEXT + f"reply {kernel_id} {challenge}".encode()
    envelope = _object(line)
    return _unseal(key, _nonce(envelope), _bytes(envelope, "ciphertext"), aad)


def _derive(launch_key: str, kernel_id: str, purpose: bytes) -> bytes:
    try:
        salt, secret = kernel_id.encode(), base64.b64decode(launch_key)
    except ValueError:  # of a record that was changed
        raise ProtocolError("the launch's own key or kernel id is malformed") from None
    return HKDF(SHA256(), 32, salt=salt, info=_CONTEXT + purpose).derive(secret)


def _unseal(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes) -> dict[str, Any]:
    try:
        plain = AESGCM(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag as error:
        raise ProtocolError("the peer does not hold this launch's key") from error
    return _object(plain)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the payload is not valid JSON") from error
    if not isinstance(value, dict):
        raise ProtocolError("the payload is not a JSON object")
    return value


def _kernel_id(payload: Mapping[str, Any]) -> str:
    value = payload.get("kernel_id")
    if not isinstance(value, str) or not _KERNEL_ID.fullmatch(value):
        raise ProtocolError("the payload's kernel_id is missing or malformed")
    return value


def _fresh_key(payload: Mapping[str, Any]) -> str:
    key = _bytes(payload, "fresh_key")
    if len(key) != LAUNCH_KEY_BYTES:
        raise ProtocolError("the payload's fresh_key has the wrong length")
    return _encode(key)


def _nonce(envelope: Mapping[str, Any]) -> bytes:
    nonce = _bytes(envelope, "nonce")
    if len(nonce) != NONCE_BYTES:
        raise ProtocolError("the payload's nonce has the wrong length")
    return nonce


def _bytes(envelope: Mapping[str, Any], name: str) -> bytes:
    value = envelope.get(name)
    if not isinstance(value, str):
        raise ProtocolError(f"the payload's {name} is missing")
    return _decode(value)


def _decode(text: str | bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ProtocolError("the payload is not base64") from error


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
