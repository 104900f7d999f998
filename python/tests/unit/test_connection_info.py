import json

import pytest
import zmq
from jupyter_client.manager import KernelManager

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.model.connection_info import ConnectionInfo

PORTS = {
    "shell_port": 40001,
    "iopub_port": 40002,
    "stdin_port": 40003,
    "control_port": 40004,
    "hb_port": 40005,
    "comm_port": 40006,
}
PAYLOAD = {
    **PORTS,
    "ip": "10.0.0.7",
    "key": "hush-key",
    "transport": "tcp",
    "signature_scheme": "hmac-sha256",
    "kernel_name": "data_sci_py",
    "kernel_id": "a-kernel",
    "pid": 7,
    "pgid": 7,
    "mailbox_port": 40007,
    "features": ["mailbox", "state"],
    "protocol": 2,
}


def curve():
    public, secret = zmq.curve_keypair()
    return {"curve_publickey": public.decode(), "curve_secretkey": secret.decode()}


def test_repr_shows_no_key():
    keys = curve()
    shown = repr(ConnectionInfo.from_payload({**PAYLOAD, **keys}))
    assert "40006" in shown
    for secret in ("hush", *keys.values()):
        assert secret not in shown


@pytest.mark.parametrize("ip", ["fd00::17", "FD00:0:0:0:0:0:0:17", "fd00::0017"])
def test_every_spelling_of_an_address_is_the_same_address(ip):
    assert ConnectionInfo.from_payload({**PAYLOAD, "ip": ip}).ip == "fd00::17"


def test_curve_keys_of_libzmq_are_valid():
    for _ in range(50):
        keys = curve()
        assert ConnectionInfo.from_payload({**PAYLOAD, **keys}).curve_publickey


@pytest.mark.parametrize("keys", [{}, curve()])
def test_jupyter_client_takes_it(keys, tmp_path):
    """jupyter_client compares what it loaded with what it was given, and raises if they differ."""
    info = ConnectionInfo.from_payload({**PAYLOAD, **keys})
    given = info.to_jupyter()
    ours = {"comm_port", "mailbox_port", "features", "pid", "pgid", "protocol", "kernel_id"}
    assert sorted(given) == sorted({*PAYLOAD, *keys} - ours)
    manager = KernelManager(connection_file=str(tmp_path / "kernel.json"))
    manager._reconcile_connection_info(given)
    assert manager.session.key == b"hush-key"
    assert manager.curve_publickey == (keys["curve_publickey"].encode() if keys else None)
    manager.cleanup_connection_file()
    manager.context.term()


@pytest.mark.parametrize("keys", [{}, curve()])
def test_json_keeps_everything(keys):
    info = ConnectionInfo.from_payload({**PAYLOAD, **keys})
    assert ConnectionInfo.from_json(info.to_json()) == info
    assert info.protocol == 2
    assert info.pid == 7
    assert info.mailbox_port == 40007
    assert info.features == ("mailbox", "state")


def test_gateways_that_cannot_attach_see_no_mailbox():
    """An older gateway reads the same record, and uses the channels instead."""
    info = ConnectionInfo.from_payload({**PAYLOAD, "features": ["mailbox", "fresh-key"]})
    assert ConnectionInfo.from_json(info.to_json()) == info
    assert info.mailbox_port == 40007
    assert "mailbox_port" not in json.loads(info.to_json())


def test_optional_fields():
    bare = {name: PAYLOAD[name] for name in (*PORTS, "ip", "key", "transport", "signature_scheme")}
    info = ConnectionInfo.from_payload(bare)
    assert (info.kernel_name, info.pid, info.curve_publickey, info.protocol) == ("", None, None, 1)
    assert info.mailbox_port is None
    assert info.features == ()


@pytest.mark.parametrize(
    ("offered", "features"),
    [
        (None, ()),
        ("mailbox", ()),
        ({"mailbox": True}, ()),
        (5, ()),
        ([], ()),
        (["mailbox", "mailbox", "x-1", "x_2"], ("mailbox", "x-1", "x_2")),
        (["", "A", "-a", "a b", "a\n", "ä", "a" * 33, 5, None, ["mailbox"], {}, "a"], ("a",)),
        ([*map(str, range(31)), "last", "too-many"], ("last",)),
        (["a" * 32] * 100_000, ("a" * 32,)),
    ],
)
def test_features(offered, features):
    info = ConnectionInfo.from_payload({**PAYLOAD, "features": offered})
    assert info.features == features
    assert ConnectionInfo.from_json(info.to_json()) == info


def test_pid_as_the_scala_launcher_sends_it():
    assert ConnectionInfo.from_payload({**PAYLOAD, "pid": "17"}).pid == 17


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *((port, value) for port in PORTS for value in (None, 0, -1, 65536, "1", True, 1.0)),
        *(("mailbox_port", value) for value in (0, -1, 65536, "1", True, 1.0)),
        ("ip", "localhost"),
        ("ip", "1.2.3"),
        ("ip", None),
        ("key", ""),
        ("key", "ä"),
        ("key", "x" * 1025),
        ("key", b"bytes"),
        ("transport", "ipc"),
        ("signature_scheme", ""),
        ("signature_scheme", "hmac-"),
        ("kernel_name", "a\nb"),
        ("kernel_name", "\ud800"),
        ("pid", 0),
        ("pid", "x"),
        ("pid", 1 << 31),
        ("curve_publickey", "0" * 40),
    ],
)
def test_malformed_field_is_named_and_not_quoted(name, wrong):
    with pytest.raises(ProtocolError, match=name if "curve" not in name else "CurveZMQ") as error:
        ConnectionInfo.from_payload({**PAYLOAD, name: wrong})
    assert not wrong or repr(wrong) not in str(error.value)


@pytest.mark.parametrize("key", ["0" * 39, "0" * 41, "~" * 40, "#" * 40, 5])
def test_malformed_curve_keys(key):
    with pytest.raises(ProtocolError, match="curve_publickey"):
        ConnectionInfo.from_payload({**PAYLOAD, "curve_publickey": key, "curve_secretkey": key})


@pytest.mark.parametrize("text", ["", "[]", "null", "{", b"\xff", "[" * 100_000])
def test_invalid_stored_text(text):
    with pytest.raises(ProtocolError):
        ConnectionInfo.from_json(text)


def test_stored_text_with_a_missing_field():
    fields = json.loads(ConnectionInfo.from_payload(PAYLOAD).to_json())
    del fields["hb_port"]
    with pytest.raises(ProtocolError, match="hb_port"):
        ConnectionInfo.from_json(json.dumps(fields))
