"""Protocol version 1 as SPEC.md has it, from the gateway's side; shares no code with the product."""

import base64
import json
import socket

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from timeouts import TIMEOUT_SECONDS


class GatewayV1:
    """A gateway that knows nothing but version 1: one key pair, one blocking socket."""

    def __init__(self, bits=2048):
        self._key = rsa.generate_private_key(65537, bits)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(TIMEOUT_SECONDS)
        der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public_key = base64.b64encode(der).decode()
        self.response_address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._socket.close()

    def connection_info(self):
        connection, _ = self._socket.accept()
        with connection, connection.makefile("rb") as stream:
            return decode(stream.read(), self._key)


def decode(blob, private_key):
    envelope = json.loads(base64.b64decode(blob, validate=True))
    assert sorted(envelope) == ["conn_info", "key", "version"]
    assert envelope["version"] == 1
    key = private_key.decrypt(base64.b64decode(envelope["key"]), padding.PKCS1v15())
    assert len(key) == 16
    decryptor = Cipher(algorithms.AES(key), modes.ECB()).decryptor()
    plain = decryptor.update(base64.b64decode(envelope["conn_info"])) + decryptor.finalize()
    count = plain[-1]
    assert 1 <= count <= 16
    assert plain.endswith(bytes([count]) * count)
    return json.loads(plain[:-count])


def command(port, request, *, half_close=True):
    """Send a request as a gateway of version 1 does; returns what came back, which is nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(json.dumps(request).encode())
        if half_close:
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(1)
        return b""
