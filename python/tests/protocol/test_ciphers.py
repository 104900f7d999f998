"""The launcher's own ciphers are those of `cryptography`, for data of any length."""

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.ciphers import Cipher, aead
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from kernel_launcher import ciphers

KEYS = st.binary(min_size=16, max_size=16) | st.binary(min_size=32, max_size=32)
NONCES = st.binary(min_size=12, max_size=12)


def der_of(private_key):
    return private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@given(key=KEYS, nonce=NONCES, data=st.binary(max_size=600), aad=st.binary(max_size=60))
def test_aes_gcm(key, nonce, data, aad):
    sealed = ciphers.AESGCM(key).encrypt(nonce, data, aad)
    assert sealed == aead.AESGCM(key).encrypt(nonce, data, aad)
    assert ciphers.AESGCM(key).decrypt(nonce, sealed, aad) == data


@given(
    key=KEYS,
    nonce=st.binary(max_size=20),
    sealed=st.binary(max_size=100),
    aad=st.binary(max_size=20),
)
def test_aes_gcm_rejects_what_is_not_authentic(key, nonce, sealed, aad):
    with pytest.raises((InvalidTag, ValueError)):
        aead.AESGCM(key).decrypt(nonce, sealed, aad)
    with pytest.raises(ValueError, match=r"^(not authentic|a nonce has 12 bytes)$"):
        ciphers.AESGCM(key).decrypt(nonce, sealed, aad)


@given(
    data=st.binary(min_size=1, max_size=200), place=st.integers(min_value=0), bit=st.integers(0, 7)
)
def test_aes_gcm_rejects_a_changed_bit(data, place, bit):
    cipher = ciphers.AESGCM(bytes(32))
    sealed = bytearray(cipher.encrypt(bytes(12), data, b""))
    sealed[place % len(sealed)] ^= 1 << bit
    with pytest.raises(ValueError, match="not authentic"):
        cipher.decrypt(bytes(12), bytes(sealed), b"")


@given(key=KEYS, blocks=st.integers(0, 20), seed=st.binary(min_size=16, max_size=16))
def test_aes(key, blocks, seed):
    data = seed * blocks
    encryptor = Cipher(AES(key), ECB()).encryptor()
    assert ciphers.Aes(key).encrypt(data) == encryptor.update(data) + encryptor.finalize()


def test_aes_takes_keys_and_blocks_of_its_sizes_only():
    with pytest.raises(ValueError, match="16 or 32 bytes"):
        ciphers.Aes(bytes(24))
    with pytest.raises(ValueError, match="not a whole number of blocks"):
        ciphers.Aes(bytes(16)).encrypt(bytes(17))


@pytest.mark.parametrize("bits", [1024, 2048, 3072])
def test_rsa(bits):
    private = rsa.generate_private_key(65537, bits)
    message = bytes(range(16))
    for _ in range(20):  # with random padding, in which bytes of 0 are left out
        encrypted = ciphers.RsaPublicKey(der_of(private)).encrypt(message)
        assert private.decrypt(encrypted, padding.PKCS1v15()) == message


def test_rsa_refuses_another_kind_of_key():
    with pytest.raises(ciphers.NotRsaError):
        ciphers.RsaPublicKey(der_of(generate_private_key(SECP256R1())))


@given(st.binary(max_size=400))
def test_rsa_refuses_what_is_not_a_key(der):
    with pytest.raises(ValueError):  # noqa: PT011  of several kinds, with one consequence
        ciphers.RsaPublicKey(der)


@given(place=st.integers(min_value=0), byte=st.integers(0, 255), size=st.integers(0, 294))
def test_rsa_survives_any_change_of_a_key(place, byte, size):
    changed = bytearray(RSA_DER)
    changed[place % len(changed)] = byte
    try:
        ciphers.RsaPublicKey(bytes(changed[:size]))
    except ValueError:
        return
    assert size == len(RSA_DER)


RSA_DER = der_of(rsa.generate_private_key(65537, 2048))
