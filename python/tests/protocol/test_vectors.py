"""Both implementations of the protocol, the gateway's and the launcher's, pass the golden vectors."""

import base64
import json
import os
import subprocess
import sys

import pytest
import reference_v1
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)
from launched import LAUNCHERS

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.handshake import payload
from gateway_provisioners.model.connection_info import ConnectionInfo
from kernel_launcher import options, wire
from kernel_launcher.errors import LaunchError

PROTOCOL = LAUNCHERS / "protocol"
KEYS = json.loads((PROTOCOL / "test-keys.json").read_text())
VECTORS = json.loads((PROTOCOL / "vectors.json").read_text())
CAPTURED = json.loads((PROTOCOL / "captured-gateway-provisioners-0.5.0.json").read_text())
LAUNCH = {"RESPONSE_ADDRESS": "a:1", "KERNEL_LAUNCH_KEY": VECTORS["derived_keys"][0]["launch_key"]}


def named(entries):
    return [pytest.param(entry, id=entry["name"]) for entry in entries]


def private_key(name):
    return load_der_private_key(base64.b64decode(KEYS[name]), None)


def public_key(name):
    der = (
        private_key(name).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(der).decode()


def decode(blob, rsa_key=None, launch_key=None):
    """Return the kernel's id, its connection info and the key in force of any report."""
    envelope = payload.parse_envelope(blob)
    if isinstance(envelope, payload.V1Envelope):
        return *payload.open_v1(envelope, payload.GatewayKey(private_key(rsa_key))), None
    return envelope.kernel_id, *payload.open_v2(envelope, launch_key)


def launcher_key(entry):
    return wire.LaunchKey(base64.b64decode(entry["launch_key"]), entry["kernel_id"])


def fix_random(monkeypatch, value):
    """Let random bytes of this length be these."""
    random = os.urandom
    monkeypatch.setattr("os.urandom", lambda count: value if count == len(value) else random(count))


@pytest.fixture(params=["cryptography", "ciphers"])
def _every_aes_gcm(request, monkeypatch):
    """Run the test with each implementation that the launcher may have."""
    if request.param == "ciphers":
        monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    aes_gcm, invalid_tag = wire._aes_gcm()
    monkeypatch.setattr(wire, "AESGCM", aes_gcm)
    monkeypatch.setattr(wire, "InvalidTag", invalid_tag)
    assert aes_gcm.__module__.startswith(
        {"cryptography": "cryptography.", "ciphers": "kernel_launcher.ciphers"}[request.param]
    )


def test_vectors_are_what_the_specification_says():
    generator = [sys.executable, PROTOCOL / "generate_vectors.py", "--check"]
    subprocess.run(generator, check=True, timeout=120)


@pytest.mark.parametrize("entry", named(VECTORS["reports"] + CAPTURED["reports"]))
def test_gateway_reads_report(entry):
    keys = entry.get("rsa_key"), entry.get("launch_key")
    kernel_id, info, key_in_force = decode(entry["blob"].encode(), *keys)
    assert (kernel_id, key_in_force) == (entry["kernel_id"], entry.get("key_in_force"))
    assert info == ConnectionInfo.from_payload(
        {**entry["connection_info"], "protocol": entry["version"]}
    )


@pytest.mark.attack(16)
@pytest.mark.parametrize("name", VECTORS["invalid_reports"]["blobs"])
def test_gateway_rejects_report(name):
    invalid = VECTORS["invalid_reports"]
    with pytest.raises(ProtocolError):
        decode(invalid["blobs"][name].encode(), invalid["rsa_key"], invalid["launch_key"])


@pytest.mark.usefixtures("_every_aes_gcm")
@pytest.mark.parametrize("entry", named(e for e in VECTORS["reports"] if e["version"] == 2))
def test_launcher_writes_report_v2(entry, monkeypatch):
    launch_key = launcher_key(entry)
    fix_random(monkeypatch, base64.b64decode(entry["nonce"]))
    blob = launch_key.connection_info(entry["connection_info"])
    written = json.loads(base64.b64decode(blob, validate=True))
    assert written == json.loads(base64.b64decode(entry["blob"]))
    assert written["ciphertext"] == entry["ciphertext"]


@pytest.mark.parametrize(
    "entry", named(e for e in VECTORS["reports"] + CAPTURED["reports"] if e["version"] == 1)
)
def test_launcher_writes_report_v1(entry, monkeypatch):
    if "aes_key" in entry:
        fix_random(monkeypatch, base64.b64decode(entry["aes_key"]))
    blob = wire.GatewayKey(public_key(entry["rsa_key"])).connection_info(entry["connection_info"])
    if "aes_key" in entry:
        envelope = json.loads(base64.b64decode(blob, validate=True))
        assert envelope["conn_info"] == entry["encrypted"]
    # Read back by a decoder that is neither of ours, and by ours.
    assert reference_v1.decode(blob, private_key(entry["rsa_key"])) == entry["connection_info"]
    assert decode(blob, entry["rsa_key"])[0] == entry["kernel_id"]


@pytest.mark.usefixtures("_every_aes_gcm")
@pytest.mark.parametrize("entry", named(VECTORS["commands"]))
def test_command(entry, monkeypatch):
    challenge = payload.parse_challenge(entry["challenge_line"].encode())
    assert challenge == entry["challenge"]
    assert json.loads(wire.challenge_line(challenge)) == json.loads(entry["challenge_line"])
    command = launcher_key(entry).open_command(entry["line"].encode(), challenge)
    assert command == entry["message"]
    fix_random(monkeypatch, base64.b64decode(entry["nonce"]))
    line = payload.seal_command(
        entry["message"], entry["launch_key"], entry["kernel_id"], challenge
    )
    assert json.loads(line) == json.loads(entry["line"])
    assert line.endswith(b"\n")


@pytest.mark.usefixtures("_every_aes_gcm")
@pytest.mark.parametrize("entry", named(VECTORS["replies"]))
def test_reply(entry, monkeypatch):
    arguments = entry["launch_key"], entry["kernel_id"], entry["challenge"]
    assert payload.open_reply(entry["line"].encode(), *arguments) == entry["message"]
    fix_random(monkeypatch, base64.b64decode(entry["nonce"]))
    line = launcher_key(entry).reply(entry["message"], entry["challenge"])
    assert json.loads(line) == json.loads(entry["line"])
    assert line.endswith(b"\n")


@pytest.mark.attack(16)
@pytest.mark.usefixtures("_every_aes_gcm")
@pytest.mark.parametrize("name", VECTORS["invalid_commands"]["lines"])
def test_launcher_rejects_command(name):
    invalid = VECTORS["invalid_commands"]
    with pytest.raises(wire.WireError):
        launcher_key(invalid).open_command(invalid["lines"][name].encode(), invalid["challenge"])


@pytest.mark.attack(16)
@pytest.mark.parametrize(
    "name", sorted({*VECTORS["invalid_commands"]["lines"]} - {"sealed as a reply"})
)
def test_gateway_rejects_invalid_reply(name):
    invalid = VECTORS["invalid_commands"]
    with pytest.raises(ProtocolError):
        payload.open_reply(
            invalid["lines"][name].encode(),
            invalid["launch_key"],
            invalid["kernel_id"],
            invalid["challenge"],
        )


@pytest.mark.parametrize("kernel_id", VECTORS["kernel_ids"]["valid"])
def test_valid_kernel_id(kernel_id):
    assert options.parse([f"--kernel-id={kernel_id}"], LAUNCH).kernel_id == kernel_id
    key = launcher_key({**VECTORS["derived_keys"][0], "kernel_id": kernel_id})
    assert payload.parse_envelope(key.connection_info({})).kernel_id == kernel_id


@pytest.mark.parametrize("kernel_id", VECTORS["kernel_ids"]["invalid"])
def test_invalid_kernel_id(kernel_id):
    with pytest.raises(LaunchError, match="missing or not a valid kernel id"):
        options.parse([f"--kernel-id={kernel_id}"], LAUNCH)
    key = launcher_key({**VECTORS["derived_keys"][0], "kernel_id": kernel_id})
    with pytest.raises(ProtocolError, match="kernel_id is missing or malformed"):
        payload.parse_envelope(key.connection_info({}))


def test_derived_keys():
    for entry in VECTORS["derived_keys"]:
        for word in ("connection-info", "command", "mailbox"):
            expected = base64.b64decode(entry[word.replace("-", "_")])
            derived = payload._derive(entry["launch_key"], entry["kernel_id"], word.encode())
            assert derived == expected
            assert launcher_key(entry)._derive(word.encode()) == expected
        assert payload.mailbox_key(entry["launch_key"], entry["kernel_id"]) == expected
        assert launcher_key(entry).mailbox_key == expected
