"""A kernel's connection info, as its launcher reported it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.model.addresses import read_address
from gateway_provisioners.model.features import FRESH_KEY, parse_features

# ZeroMQ RFC 32; the position of a character is its value.
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_CURVE_KEY_CHARACTERS = 40
# In stored connection info, the mailbox's port if the fresh key attaches to it.
_KEYED_MAILBOX_PORT = "keyed_mailbox_port"


@dataclass(frozen=True)
class ConnectionInfo:
    """A kernel's connection info: Jupyter's, and the ports and features of its launcher.

    Attributes:
        ip: the kernel's address as the launcher knows it; 0.0.0.0 from version 1 launchers.
        comm_port: the launcher's communication port, for signals.
        mailbox_port: where a client's session gets its messages, including those that it missed
            while no gateway was connected for it; None from launchers that have no mailbox.
        features: the names of what the launcher offers.
        key: signs the messages on the channels; secret, like the curve keys (a client needs
            only the public one to connect).
        pid: the kernel's process id in its container, if the launcher reported it.
        curve_publickey: the CurveZMQ key pair in Z85 (40 characters), or None: not encrypted.
        protocol: version of the wire protocol that the launcher spoke.
    """

    ip: str
    shell_port: int
    iopub_port: int
    stdin_port: int
    control_port: int
    hb_port: int
    comm_port: int
    key: str = field(repr=False)
    transport: str = "tcp"
    signature_scheme: str = "hmac-sha256"
    kernel_name: str = ""
    pid: int | None = None
    curve_publickey: str | None = field(default=None, repr=False)
    curve_secretkey: str | None = field(default=None, repr=False)
    mailbox_port: int | None = None
    features: tuple[str, ...] = ()
    protocol: int = 1

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> ConnectionInfo:
        """Validate what a launcher sent; unknown fields are ignored.

        Raises:
            ProtocolError: naming the field that is missing or malformed.
        """
        curve = _curve_key(payload, "curve_publickey"), _curve_key(payload, "curve_secretkey")
        if None in curve and curve != (None, None):
            raise ProtocolError("the connection info has half a CurveZMQ key pair")
        return cls(
            ip=_ip(payload),
            shell_port=_port(payload, "shell_port"),
            iopub_port=_port(payload, "iopub_port"),
            stdin_port=_port(payload, "stdin_port"),
            control_port=_port(payload, "control_port"),
            hb_port=_port(payload, "hb_port"),
            comm_port=_port(payload, "comm_port"),
            # An empty key would switch message signatures off.
            key=_text(payload, "key", r"[!-~]{1,1024}"),
            transport=_text(payload, "transport", "tcp"),
            signature_scheme=_text(payload, "signature_scheme", r"hmac-[a-z0-9_-]{1,32}"),
            kernel_name=_text(
                payload, "kernel_name", r"[^\x00-\x1f\x7f\ud800-\udfff]{0,256}", default=""
            ),
            pid=_pid(payload),
            curve_publickey=curve[0],
            curve_secretkey=curve[1],
            mailbox_port=(
                None if payload.get("mailbox_port") is None else _port(payload, "mailbox_port")
            ),
            features=parse_features(payload.get("features")),
            protocol=2 if payload.get("protocol") == 2 else 1,
        )

    def to_jupyter(self) -> dict[str, Any]:
        """Return it as jupyter_client's KernelConnectionInfo, whose key is bytes."""
        info = dataclasses.asdict(self)
        for name in ("comm_port", "mailbox_port", "features", "pid", "protocol"):
            del info[name]
        if self.curve_publickey is None:
            del info["curve_publickey"], info["curve_secretkey"]
        info["key"] = self.key.encode()
        return info

    @property
    def ports(self) -> Sequence[int]:
        """All ports that a gateway connects to."""
        names = (each.name for each in dataclasses.fields(self) if each.name.endswith("_port"))
        found = (getattr(self, name) for name in names)
        return [port for port in found if port is not None]

    def to_json(self) -> str:
        """Return all of it, keys included, for a place that keeps secrets."""
        value = dataclasses.asdict(self)
        if FRESH_KEY in self.features:
            # Gateways that do not know the feature cannot attach to the mailbox: they use the channels.
            value[_KEYED_MAILBOX_PORT] = value.pop("mailbox_port")
        return json.dumps(value)

    @classmethod
    def from_json(cls, text: str | bytes) -> ConnectionInfo:
        """Read what `to_json` wrote.

        Raises:
            ProtocolError: the text is not valid connection info.
        """
        try:
            payload = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ProtocolError("the stored connection info is not valid JSON") from error
        if not isinstance(payload, Mapping):
            raise ProtocolError("the stored connection info is not a JSON object")
        if _KEYED_MAILBOX_PORT in payload:
            payload = {**payload, "mailbox_port": payload[_KEYED_MAILBOX_PORT]}
        return cls.from_payload(payload)


def _malformed(name: str) -> ProtocolError:
    return ProtocolError(f"the connection info's {name} is missing or malformed")


def _text(
    payload: Mapping[str, Any], name: str, pattern: str, *, default: str | None = None
) -> str:
    value = payload.get(name, default)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise _malformed(name)
    return value


def _ip(payload: Mapping[str, Any]) -> str:
    value = _text(payload, "ip", r"[0-9A-Fa-f:.]{2,45}")
    try:
        return str(read_address(value))  # Java writes IPv6 addresses in full
    except ValueError as error:
        raise _malformed("ip") from error


def _port(payload: Mapping[str, Any], name: str) -> int:
    value = payload.get(name)
    if type(value) is not int or not 0 < value < 1 << 16:
        raise _malformed(name)
    return value


def _pid(payload: Mapping[str, Any]) -> int | None:
    value = payload.get("pid")
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}", value):  # the Scala launcher's form
        value = int(value)
    if value is None:
        return None
    if type(value) is not int or not 0 < value < 1 << 31:
        raise _malformed("pid")
    return value


def _curve_key(payload: Mapping[str, Any], name: str) -> str | None:
    value = payload.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) != _CURVE_KEY_CHARACTERS:
        raise _malformed(name)
    for start in range(0, len(value), 5):
        digits = [_Z85.find(character) for character in value[start : start + 5]]
        number = 0
        for digit in digits:
            number = number * 85 + digit
        if -1 in digits or number >= 1 << 32:
            raise _malformed(name)
    return value
