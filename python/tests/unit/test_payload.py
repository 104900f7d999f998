import base64
import json
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.handshake import payload


@pytest.fixture(scope="module")
def gateway_key():
    return payload.GatewayKey.generate()


@pytest.fixture(scope="module")
def public_key(gateway_key):
    return load_der_public_key(base64.b64decode(gateway_key.public_key, validate=True))


def test_public_key_is_rsa_2048(public_key):
    assert isinstance(public_key, rsa.RSAPublicKey)
    assert public_key.key_size == 2048


def test_private_key_is_not_shown(gateway_key):
    numbers = gateway_key._private_key.private_numbers()
    assert str(numbers.d) not in repr(vars(gateway_key))


def test_launch_keys_are_32_bytes_and_differ():
    keys = {payload.new_launch_key() for _ in range(10)}
    assert len(keys) == 10
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {32}


def test_unwraps_what_was_wrapped(gateway_key, public_key):
    key = os.urandom(16)
    assert gateway_key.unwrap(public_key.encrypt(key, padding.PKCS1v15())) == key


@pytest.mark.parametrize(
    "wrapped",
    [b"", b"short", bytes(256), b"\xff" * 256, b"\xff" * 257, os.urandom(256)],
    ids=["empty", "short", "zeros", "beyond the modulus", "long", "random"],
)
def test_what_cannot_be_unwrapped_yields_a_random_key(gateway_key, wrapped):
    """Not an error, which would show whether the padding was right (Bleichenbacher)."""
    first, second = gateway_key.unwrap(wrapped), gateway_key.unwrap(wrapped)
    assert len(first) == len(second) == 16


@pytest.mark.parametrize("length", [0, 15, 17, 24, 32])
def test_keys_of_another_length_yield_a_random_key(gateway_key, public_key, length):
    key = os.urandom(length)
    unwrapped = gateway_key.unwrap(public_key.encrypt(key, padding.PKCS1v15()))
    assert len(unwrapped) == 16
    assert unwrapped != key[:16]


def test_line_breaks_around_a_blob_are_ignored():
    blob = base64.b64encode(json.dumps({"version": 1, "key": "AAAA", "conn_info": "AAAA"}).encode())
    assert payload.parse_envelope(b"\n" + blob + b"\r\n") == payload.parse_envelope(blob)


def test_errors_quote_nothing():
    for blob in (b"hush", base64.b64encode(b"hush"), base64.b64encode(b'{"version": "hush"}')):
        with pytest.raises(ProtocolError) as error:
            payload.parse_envelope(blob)
        assert "hush" not in str(error.value)


def test_only_version_2_has_features(gateway_key, public_key):
    aes_key = os.urandom(16)
    ports = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port", "comm_port")
    info = {**dict.fromkeys(ports, 1), "ip": "0.0.0.0", "key": "k", "transport": "tcp"}
    info |= {"signature_scheme": "hmac-sha256", "kernel_id": "k", "features": ["mailbox"]}
    plain = json.dumps(info).encode()
    count = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(aes_key), modes.ECB()).encryptor()
    envelope = payload.V1Envelope(
        public_key.encrypt(aes_key, padding.PKCS1v15()),
        encryptor.update(plain + bytes([count]) * count),
    )
    assert payload.open_v1(envelope, gateway_key)[1].features == ()


def test_reprs_show_no_bytes():
    envelopes = (
        payload.V1Envelope(b"hush", b"hush"),
        payload.V2Envelope("a-kernel", b"hush", b"hush"),
    )
    assert "hush" not in repr(envelopes)


@pytest.mark.parametrize(
    ("launch_key", "kernel_id"), [("s3cr3t", "k"), ("\u00e9", "k"), ("AAAA", "\ud800")]
)
def test_key_of_a_record_that_was_changed_is_malformed(launch_key, kernel_id):
    with pytest.raises(ProtocolError, match="malformed") as error:
        payload.seal_command({}, launch_key, kernel_id, "challenge")
    assert launch_key not in str(error.value)
