#!/usr/bin/env python3
"""Write vectors.json, or with --check report whether it is up to date.

Written from SPEC.md and independent of the implementations that the vectors test: HKDF and the RSA
padding are done by hand, and nothing is random, so that the file can be compared.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.serialization import load_der_private_key

HERE = Path(__file__).parent
VECTORS = HERE / "vectors.json"
PREFIX = "gateway-provisioners v2 "

KERNEL = "6f1f3c0a-9c1b-4b8e-9d55-0d8a0c9f3a11"
OTHER_KERNEL = "0b6c6d3e-1a52-4a44-8a1b-54e5f2f7c9aa"
PORTS = {
    "shell_port": 40001,
    "iopub_port": 40002,
    "stdin_port": 40003,
    "control_port": 40004,
    "hb_port": 40005,
    "comm_port": 40006,
}
PLAIN: dict[str, Any] = {
    **PORTS,
    "ip": "0.0.0.0",  # noqa: S104
    "key": "3f0d6c52-53a1-4c08-9a5e-2f9a4f9c3d7e",
    "transport": "tcp",
    "signature_scheme": "hmac-sha256",
    "kernel_name": "data_sci_py",
    "kernel_id": KERNEL,
    "pid": 7,
}
V2_PLAIN: dict[str, Any] = {**PLAIN, "ip": "10.244.0.17", "protocol": 2}
CURVE = {
    # The pair of ZeroMQ's documentation of curve_keypair.
    "curve_publickey": "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
    "curve_secretkey": "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs",
}
USAGE = {"memory": 49283072, "memory_limit": 134217728, "cpu": 12.345678, "cpu_limit": 1.5}
MANY_FEATURES = [f"feature-{number}" for number in range(40)]
KERNEL_IDS = {
    "valid": [KERNEL, "a", "7", "a.b_c-D", "a--b", "a" * 128],
    "invalid": ["", "-a", "a-", ".a", "a.", "_a", "a_", "-", "a b", "a/b", "ä", "a\n", "a" * 129],
}


def _fixed(label: str, length: int) -> bytes:
    """Return bytes that look random and are the same every time."""
    return hashlib.shake_256(label.encode()).digest(length)


LAUNCH_KEY = _fixed("launch key", 32)
FRESH_KEY = _fixed("fresh key", 32)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


def _hkdf(secret: bytes, salt: str, info: str) -> bytes:
    """RFC 5869 for one block of SHA-256."""
    extracted = hmac.digest(salt.encode(), secret, "sha256")
    return hmac.digest(extracted, info.encode() + b"\1", "sha256")


def _rsa_key(name: str) -> RSAPrivateKey:
    keys = json.loads((HERE / "test-keys.json").read_text())
    key = load_der_private_key(base64.b64decode(keys[name]), password=None)
    assert isinstance(key, RSAPrivateKey)  # noqa: S101
    return key


def _rsa_wrap(key: RSAPrivateKey, message: bytes) -> bytes:
    """RFC 8017, 7.2.1, with padding that is not random."""
    numbers = key.public_key().public_numbers()
    size = key.key_size // 8
    padding = bytes(byte or 1 for byte in _fixed("padding", size - 3 - len(message)))
    encoded = b"\0\2" + padding + b"\0" + message
    return pow(int.from_bytes(encoded, "big"), numbers.e, numbers.n).to_bytes(size, "big")


def _ecb(key: bytes, plain: bytes) -> bytes:
    encryptor = Cipher(AES(key), ECB()).encryptor()  # noqa: S305
    return encryptor.update(plain) + encryptor.finalize()


def _pad(plain: bytes) -> bytes:
    count = 16 - len(plain) % 16
    return plain + bytes([count]) * count


def _v1_blob(wrapped: bytes, encrypted: bytes, indent: int | None = None) -> str:
    envelope = {"version": 1, "key": _b64(wrapped), "conn_info": _b64(encrypted)}
    return _b64(json.dumps(envelope, indent=indent).encode())


def _v1_report(
    name: str, info: dict[str, Any], *, rsa: str = "rsa_2048", indent: int | None = None
) -> dict[str, Any]:
    aes_key = _fixed(name, 16)
    plain = _text(info)
    encrypted = _ecb(aes_key, _pad(plain))
    return {
        "name": name,
        "version": 1,
        "rsa_key": rsa,
        "aes_key": _b64(aes_key),
        "plaintext": plain.decode(),
        "encrypted": _b64(encrypted),
        "blob": _v1_blob(_rsa_wrap(_rsa_key(rsa), aes_key), encrypted, indent),
        "kernel_id": KERNEL,
        "connection_info": info,
    }


def _v2_blob(
    plain: bytes,
    *,
    kernel: str = KERNEL,
    aad_kernel: str = KERNEL,
    secret: bytes = LAUNCH_KEY,
    nonce: bytes = _fixed("nonce", 12),
    spoil: int = 0,
    version: int = 2,
) -> str:
    key = _hkdf(secret, aad_kernel, PREFIX + "connection-info")
    aad = (PREFIX + "connection-info " + aad_kernel).encode()
    sealed = bytearray(AESGCM(key).encrypt(nonce, plain, aad))
    sealed[-1] ^= spoil
    envelope = {
        "version": version,
        "kernel_id": kernel,
        "nonce": _b64(nonce),
        "ciphertext": _b64(bytes(sealed)),
    }
    return _b64(_text(envelope))


def _v2_report(
    name: str, info: dict[str, Any], *, key_in_force: bytes = LAUNCH_KEY
) -> dict[str, Any]:
    nonce = _fixed(name, 12)
    blob = _v2_blob(_text(info), nonce=nonce)
    return {
        "name": name,
        "version": 2,
        "launch_key": _b64(LAUNCH_KEY),
        "key_in_force": _b64(key_in_force),
        "nonce": _b64(nonce),
        "plaintext": _text(info).decode(),
        "ciphertext": json.loads(base64.b64decode(blob))["ciphertext"],
        "blob": blob,
        "kernel_id": KERNEL,
        "connection_info": info,
    }


def _with_features(features: object, **fields: object) -> dict[str, Any]:
    return {**V2_PLAIN, "mailbox_port": 40007, "features": features, **fields}


def _line(
    word: str,
    message: bytes,
    challenge: str,
    *,
    kernel: str = KERNEL,
    secret: bytes = LAUNCH_KEY,
    nonce: bytes = _fixed("line", 12),
    version: int = 2,
) -> str:
    aad = f"{PREFIX}{word} {kernel} {challenge}".encode()
    sealed = AESGCM(_hkdf(secret, kernel, PREFIX + "command")).encrypt(nonce, message, aad)
    envelope = {"version": version, "nonce": _b64(nonce), "ciphertext": _b64(sealed)}
    return _text(envelope).decode() + "\n"


def _sealed_line(word: str, message: dict[str, Any]) -> dict[str, Any]:
    name = f"{word} {json.dumps(message)}"
    challenge = _b64(_fixed("challenge of " + name, 16))
    return {
        "name": name,
        "launch_key": _b64(LAUNCH_KEY),
        "kernel_id": KERNEL,
        "challenge": challenge,
        "challenge_line": _text({"version": 2, "challenge": challenge}).decode() + "\n",
        "nonce": _b64(_fixed("line", 12)),
        "message": message,
        "plaintext": _text(message).decode(),
        "line": _line(word, _text(message), challenge),
    }


def _invalid_reports() -> dict[str, str]:
    key, rsa = _fixed("invalid", 16), _rsa_key("rsa_2048")
    wrapped, good = _rsa_wrap(rsa, key), _ecb(key, _pad(_text(PLAIN)))

    def v1_inside(value: object) -> str:
        return _v1_blob(wrapped, _ecb(key, _pad(_text(value))))

    def v2_inside(value: object) -> str:
        return _v2_blob(_text(value))

    blobs = {
        "empty": "",
        "not base64": "{}{}{}{}",
        "base64 of text that is not JSON": _b64(b"hello"),
        "base64 of a JSON array": _b64(b"[1]"),
        "no version": _b64(_text({"key": _b64(wrapped), "conn_info": _b64(good)})),
        "version 3": _v2_blob(_text(V2_PLAIN), version=3),
        "version 0: AES under the kernel id": _b64(_ecb(KERNEL[:16].encode(), _pad(_text(PLAIN)))),
        "v1: no key": _b64(_text({"version": 1, "conn_info": _b64(good)})),
        "v1: key is a number": _b64(_text({"version": 1, "key": 1, "conn_info": _b64(good)})),
        "v1: key for another pair": _v1_blob(_rsa_wrap(_rsa_key("rsa_1024"), key), good),
        "v1: key of 24 bytes": _v1_blob(_rsa_wrap(rsa, _fixed("long", 24)), good),
        "v1: wrapped key is random": _v1_blob(_fixed("random", 256), good),
        "v1: wrapped key is empty": _v1_blob(b"", good),
        "v1: no whole block": _v1_blob(wrapped, good[:-1]),
        "v1: nothing encrypted": _v1_blob(wrapped, b""),
        "v1: bad padding": _v1_blob(wrapped, _ecb(key, bytes(32))),
        "v1: no JSON inside": _v1_blob(wrapped, _ecb(key, _pad(b"hello"))),
        "v1: no kernel id": v1_inside({k: v for k, v in PLAIN.items() if k != "kernel_id"}),
        "v2: spoiled tag": _v2_blob(_text(V2_PLAIN), spoil=1),
        "v2: another launch's key": _v2_blob(_text(V2_PLAIN), secret=_fixed("another", 32)),
        "v2: sealed for another kernel": _v2_blob(_text(V2_PLAIN), aad_kernel=OTHER_KERNEL),
        "v2: another kernel's id inside": v2_inside({**V2_PLAIN, "kernel_id": OTHER_KERNEL}),
        "v2: another kernel's id outside": _v2_blob(_text(V2_PLAIN), kernel=OTHER_KERNEL),
        "v2: no kernel id inside": v2_inside({**V2_PLAIN, "kernel_id": None}),
        "v2: nonce of 16 bytes": _v2_blob(_text(V2_PLAIN), nonce=_fixed("nonce", 16)),
        "v2: no JSON inside": _v2_blob(b"hello"),
    }
    wrong_fields: dict[str, Any] = {
        "port 0": {"shell_port": 0},
        "port 65536": {"hb_port": 65536},
        "port is a string": {"iopub_port": "40002"},
        "port is true": {"control_port": True},
        "port is a fraction": {"stdin_port": 40003.5},
        "no comm_port": {"comm_port": None},
        "mailbox_port is a string": {"mailbox_port": "40007"},
        "no key": {"key": ""},
        "key has a line break": {"key": "a\nb"},
        "ip is a name": {"ip": "localhost"},
        "transport ipc": {"transport": "ipc"},
        "signature scheme none": {"signature_scheme": "none"},
        "kernel_name is a number": {"kernel_name": 5},
        "pid is negative": {"pid": -1},
        "half a curve pair": {"curve_publickey": CURVE["curve_publickey"]},
        "curve keys too short": dict.fromkeys(CURVE, "x" * 39),
        "curve keys are not Z85": dict.fromkeys(CURVE, "#" * 40),
    }
    fresh_keys = {
        "no fresh key": None,
        "fresh key is a number": 5,
        "fresh key of 16 bytes": _b64(_fixed("short", 16)),
        "fresh key is not base64": "*" * 44,
    }
    for name, value in fresh_keys.items():
        blobs[f"v2: {name}"] = v2_inside(_with_features(["fresh-key"], fresh_key=value))
    for name, change in wrong_fields.items():
        blobs[f"v1: {name}"] = v1_inside({**PLAIN, **change})
        blobs[f"v2: {name}"] = v2_inside({**V2_PLAIN, **change})
    return blobs


def _invalid_commands(challenge: str) -> dict[str, str]:
    command = _text({"signum": 9})
    return {
        "empty": "\n",
        "no JSON": "hello\n",
        "a JSON array": "[]\n",
        "version 1 command": '{"signum": 9}\n',
        "version 3": _line("command", command, challenge, version=3),
        "no ciphertext": '{"version": 2, "nonce": "AAAAAAAAAAAAAAAA"}\n',
        "no base64": '{"version": 2, "nonce": "AAAAAAAAAAAAAAAA", "ciphertext": "*"}\n',
        "nonce is empty": '{"version": 2, "nonce": "", "ciphertext": "AAAA"}\n',
        "for another challenge": _line("command", command, _b64(_fixed("another", 16))),
        "for another kernel": _line("command", command, challenge, kernel=OTHER_KERNEL),
        "another launch's key": _line("command", command, challenge, secret=_fixed("another", 32)),
        "sealed as a reply": _line("reply", command, challenge),
        "no JSON inside": _line("command", b"hello", challenge),
    }


def _vectors() -> dict[str, Any]:
    challenge = _b64(_fixed("challenge", 16))
    return {
        "about": "Generated by generate_vectors.py from SPEC.md.",
        "derived_keys": [
            {
                "launch_key": _b64(LAUNCH_KEY),
                "kernel_id": KERNEL,
                "connection_info": _b64(_hkdf(LAUNCH_KEY, KERNEL, PREFIX + "connection-info")),
                "command": _b64(_hkdf(LAUNCH_KEY, KERNEL, PREFIX + "command")),
                "mailbox": _b64(_hkdf(LAUNCH_KEY, KERNEL, PREFIX + "mailbox")),
            }
        ],
        "reports": [
            _v1_report("v1", PLAIN),
            _v1_report("v1: curve", {**PLAIN, **CURVE, "pgid": 7}),
            _v1_report("v1: RSA-1024, as from Gateway Provisioners", PLAIN, rsa="rsa_1024"),
            _v1_report("v1: as the Scala launcher", {**PLAIN, "pid": "17"}, indent=2),
            _v1_report("v1: no kernel_name, no pid", {**PLAIN, "kernel_name": "", "pid": None}),
            _v1_report("v1: unknown fields", {**PLAIN, "jupyter_session": "a.ipynb", "x": [1, {}]}),
            _v2_report("v2", V2_PLAIN),
            _v2_report("v2: curve", {**V2_PLAIN, **CURVE}),
            _v2_report("v2: mailbox", {**V2_PLAIN, "mailbox_port": 40007}),
            _v2_report("v2: IPv6", {**V2_PLAIN, "ip": "fd00::17"}),
            _v2_report("v2: any letter in the name", {**V2_PLAIN, "kernel_name": "Schön 数据"}),
            _v2_report("v2: features", _with_features(["mailbox", "state"])),
            _v2_report(
                "v2: features of a later release", _with_features(["mailbox", "x-1", "x_2"])
            ),
            _v2_report("v2: no features", _with_features([])),
            _v2_report("v2: features are not a list", _with_features({"mailbox": True})),
            _v2_report(
                "v2: features that are not names", _with_features(["", "A", 5, ["mailbox"]])
            ),
            _v2_report("v2: more features than are read", _with_features(MANY_FEATURES)),
            _v2_report(
                "v2: fresh key",
                _with_features(["mailbox", "fresh-key"], fresh_key=_b64(FRESH_KEY)),
                key_in_force=FRESH_KEY,
            ),
            _v2_report("v2: a key without the feature", _with_features(["state"], fresh_key=5)),
        ],
        "kernel_ids": KERNEL_IDS,
        "invalid_reports": {
            "rsa_key": "rsa_2048",
            "launch_key": _b64(LAUNCH_KEY),
            "kernel_ids": [KERNEL, OTHER_KERNEL],
            "blobs": _invalid_reports(),
        },
        "commands": [
            _sealed_line("command", command)
            for command in (
                {"signum": 0},
                {"signum": 2},
                {"signum": 9},
                {"shutdown": 1},
                {"state": 1},
                {"usage": 1},
            )
        ],
        "replies": [
            _sealed_line("reply", reply)
            for reply in (
                {"ok": True},
                {"ok": True, "execution_state": "busy"},
                {"ok": True, "usage": USAGE},
                {"ok": True, "usage": dict.fromkeys(USAGE) | {"cpu": 0.5}},
                {"ok": False, "error": "the kernel has ended"},
            )
        ],
        "invalid_commands": {
            "launch_key": _b64(LAUNCH_KEY),
            "kernel_id": KERNEL,
            "challenge": challenge,
            "lines": _invalid_commands(challenge),
        },
    }


def main() -> int:
    """Write the vectors or compare them."""
    content = json.dumps(_vectors(), indent=1, ensure_ascii=True) + "\n"
    if sys.argv[1:] == ["--check"]:
        if VECTORS.read_text() == content:
            return 0
        sys.stderr.write(f"{VECTORS} is not what generate_vectors.py writes; run it\n")
        return 1
    VECTORS.write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
