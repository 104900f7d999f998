"""AES, GCM and RSA encryption in Python alone: a kernel's environment may have nothing but ipykernel.

Not in constant time: the keys are those of one kernel, and only code of that kernel could measure it.
Messages are short, some hundred bytes to a few thousand; their blocks go through each step together.
"""

from __future__ import annotations

import hmac
import os

BLOCK = 16
TAG_BYTES = 16
NONCE_BYTES = 12
ROUNDS = {16: 10, 32: 14}  # by the bytes of the key
# x^128 + x^7 + x^2 + x + 1, in GCM's order of bits (NIST SP 800-38D, 6.3)
GCM_POLYNOMIAL = 0xE1 << 120
# The object identifier of rsaEncryption (RFC 8017, A.1), as an element of DER
RSA_ENCRYPTION = (6, bytes.fromhex("2a864886f70d010101"))
SMALLEST_RSA_BYTES = 64


class Aes:
    """AES (FIPS 197), to encrypt only.

    Args:
        key: 16 or 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) not in ROUNDS:
            msg = "an AES key has 16 or 32 bytes"
            raise ValueError(msg)
        self._round_keys = _round_keys(key)

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt each block of `data` by itself (ECB)."""
        blocks, rest = divmod(len(data), BLOCK)
        if rest:
            msg = "not a whole number of blocks"
            raise ValueError(msg)
        first, *middle, last = self._round_keys
        state = _xor(data, first * blocks)
        for key in middle:
            state = _mix_columns(_shift_rows(state.translate(_S_BOX)))
            state = _xor(state, key * blocks)
        return _xor(_shift_rows(state.translate(_S_BOX)), last * blocks)


class AESGCM:
    """AES-GCM (NIST SP 800-38D), with the methods of cryptography's class of this name."""

    def __init__(self, key: bytes) -> None:
        self._aes = Aes(key)
        # The hash key times 1, x, x^2, ...
        power = int.from_bytes(self._aes.encrypt(bytes(BLOCK)), "big")
        self._powers = []
        for _ in range(8 * BLOCK):
            self._powers.append(power)
            power = power >> 1 ^ (GCM_POLYNOMIAL if power & 1 else 0)

    def encrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        """Return the ciphertext and, after it, the tag.

        Raises:
            ValueError: the nonce does not have 12 bytes.
        """
        ciphertext, mask = self._crypt(nonce, data)
        return ciphertext + self._tag(mask, ciphertext, aad)

    def decrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        """Return the plaintext.

        Raises:
            ValueError: the data is not authentic, or the nonce does not have 12 bytes.
        """
        ciphertext, tag = data[:-TAG_BYTES], data[-TAG_BYTES:]
        plain, mask = self._crypt(nonce, ciphertext)
        if not hmac.compare_digest(self._tag(mask, ciphertext, aad), tag):
            msg = "not authentic"
            raise ValueError(msg)
        return plain

    def _crypt(self, nonce: bytes, data: bytes) -> tuple[bytes, bytes]:
        """Return the data, encrypted or decrypted, and the block that masks the tag."""
        if len(nonce) != NONCE_BYTES:
            msg = f"a nonce has {NONCE_BYTES} bytes"
            raise ValueError(msg)
        counters = range(1, 2 + -(-len(data) // BLOCK))
        stream = self._aes.encrypt(b"".join(nonce + n.to_bytes(4, "big") for n in counters))
        return _xor(data, stream[BLOCK : BLOCK + len(data)]), stream[:BLOCK]

    def _tag(self, mask: bytes, ciphertext: bytes, aad: bytes) -> bytes:
        lengths = b"".join((8 * len(part)).to_bytes(8, "big") for part in (aad, ciphertext))
        hashed = 0
        text = _padded(aad) + _padded(ciphertext) + lengths
        for start in range(0, len(text), BLOCK):
            hashed = self._times_hash_key(
                hashed ^ int.from_bytes(text[start : start + BLOCK], "big")
            )
        return _xor(hashed.to_bytes(BLOCK, "big"), mask)

    def _times_hash_key(self, value: int) -> int:
        product = 0
        for power, bit in zip(self._powers, f"{value:0128b}", strict=True):
            if bit == "1":
                product ^= power
        return product


class RsaPublicKey:
    """Encrypts with RSA PKCS#1 v1.5 (RFC 8017, 7.2.1).

    Args:
        der: a SubjectPublicKeyInfo.

    Raises:
        ValueError: it cannot be read.
        NotRsaError: it is a key of another kind.
    """

    def __init__(self, der: bytes) -> None:
        [(_, key)] = _der(der)
        (_, algorithm), (_, bits) = _der(key)
        if _der(algorithm)[:1] != [RSA_ENCRYPTION]:
            msg = "not an RSA key"
            raise NotRsaError(msg)
        [(_, numbers)] = _der(bits[1:])  # after the number of bits that the last byte lacks
        (_, modulus), (_, exponent) = _der(numbers)
        self._modulus = int.from_bytes(modulus, "big")
        self._exponent = int.from_bytes(exponent, "big")
        self._bytes = -(-self._modulus.bit_length() // 8)
        if self._bytes < SMALLEST_RSA_BYTES or not self._modulus % 2 or self._exponent < 3:
            msg = "not the numbers of an RSA key"
            raise ValueError(msg)

    def encrypt(self, message: bytes) -> bytes:
        """Encrypt a message that is at least 11 bytes shorter than the modulus."""
        padding = b""
        while missing := self._bytes - 3 - len(message) - len(padding):
            padding += os.urandom(missing).replace(b"\0", b"")
        padded = b"\0\2" + padding + b"\0" + message
        number = pow(int.from_bytes(padded, "big"), self._exponent, self._modulus)
        return number.to_bytes(self._bytes, "big")


class NotRsaError(ValueError):
    """A public key of another kind."""


def _der(data: bytes) -> list[tuple[int, bytes]]:
    """Return the tag and the content of each element.

    Raises:
        ValueError: it is not DER.
    """
    elements = []
    while data:
        if len(data) < 2:
            msg = "not DER"
            raise ValueError(msg)
        tag, size, start = data[0], data[1], 2
        if size & 0x80:  # the number of bytes that the length has
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            msg = "not DER"
            raise ValueError(msg)
        elements.append((tag, data[start : start + size]))
        data = data[start + size :]
    return elements


def _xor(left: bytes, right: bytes) -> bytes:
    """Combine the first with as much of the second."""
    number = int.from_bytes(left, "big") ^ int.from_bytes(right[: len(left)], "big")
    return number.to_bytes(len(left), "big")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def _times_two(byte: int) -> int:
    return byte << 1 ^ (0x11B if byte & 0x80 else 0)


def _make_s_box() -> bytes:
    """Return the substitution of each byte (FIPS 197, 5.1.1)."""
    box = bytearray(256)
    # All bytes but 0 are powers of 3; the inverse goes through them backwards.
    powers = [1]
    while len(powers) < 255:
        powers.append(_times_two(powers[-1]) ^ powers[-1])
    for byte, inverse in [(0, 0), *zip(powers, [1, *reversed(powers[1:])], strict=True)]:
        repeated = inverse * 0x101
        box[byte] = (
            0x63 ^ inverse ^ 0xFF & (repeated >> 7 ^ repeated >> 6 ^ repeated >> 5 ^ repeated >> 4)
        )
    return bytes(box)


_S_BOX = _make_s_box()


def _round_keys(key: bytes) -> list[bytes]:
    """Return the key of each round (FIPS 197, 5.2)."""
    size = len(key) // 4
    words = [key[start : start + 4] for start in range(0, len(key), 4)]
    constant = 1
    while len(words) < 4 * (ROUNDS[len(key)] + 1):
        word = words[-1]
        if len(words) % size == 0:
            word = _xor((word[1:] + word[:1]).translate(_S_BOX), bytes([constant, 0, 0, 0]))
            constant = _times_two(constant)
        elif len(words) % size == 4:
            word = word.translate(_S_BOX)
        words.append(_xor(word, words[-size]))
    return [b"".join(words[start : start + 4]) for start in range(0, len(words), 4)]


def _shift_rows(state: bytes) -> bytes:
    shifted = bytearray(len(state))
    for place in range(BLOCK):
        shifted[place::BLOCK] = state[place * 5 % BLOCK :: BLOCK]
    return bytes(shifted)


def _mix_columns(state: bytes) -> bytes:
    """Multiply each column of four bytes, in all blocks at once, by the matrix of FIPS 197, 5.1.3."""

    def everywhere(byte: int) -> int:
        return int.from_bytes(bytes([byte]) * len(state), "big")

    def turned(value: int) -> int:
        """Turn each column upwards by one byte."""
        return value << 8 & upper | value >> 24 & lower

    lower = int.from_bytes(b"\0\0\0\xff" * (len(state) // 4), "big")
    upper = int.from_bytes(b"\xff\xff\xff\0" * (len(state) // 4), "big")
    once = int.from_bytes(state, "big")
    twice = (once & everywhere(0x7F)) << 1 ^ (once >> 7 & everywhere(1)) * 0x1B
    one_up = turned(once)
    two_up = turned(one_up)
    mixed = twice ^ turned(twice) ^ one_up ^ two_up ^ turned(two_up)
    return mixed.to_bytes(len(state), "big")
