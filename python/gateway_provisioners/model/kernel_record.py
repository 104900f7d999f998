"""The record of a kernel, with which another gateway, of this or the next release, takes it over.

On Kubernetes it is in the pod's Secret, on Docker in a file below GP_STATE_DIR. A reader understands
its own version and the one before, and ignores fields that it does not know, so that a release can add
optional fields. A field that readers must understand needs a new version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.ownership import Ownership

VERSION = 1
OLDEST_VERSION = 1  # VERSION - 1, once there is a version 2


class NewerRecord(ProtocolError):
    """A later release wrote the record: its kernel must be left as it is.

    Attributes:
        kernel_id: the kernel's id, or "" if the record has none.
    """

    def __init__(self, kernel_id: str, version: int) -> None:
        super().__init__(
            f"Its record has version {version}, and this gateway reads versions up to {VERSION}; upgrade "
            "this gateway, or shut the kernel down with the newer one."
        )
        self.kernel_id = kernel_id


@dataclass(frozen=True)
class KernelRecord:
    """Everything that a gateway needs to take over a kernel that another one started.

    Attributes:
        kernel_name: the name of its kernelspec.
        kernel_spec: the kernelspec, as `KernelSpec.to_dict` of jupyter_client gives it.
        environment: the client's variables, which a restart needs.
        attempt: how often the kernel was launched, restarts included; from 1 on.
        launch_key: the secret of this launch, as in the launcher's environment.
        ownership: the kernel's owner, and with whom it is shared; on Kubernetes as of the launch.
    """

    kernel_id: str
    kernel_name: str
    kernel_spec: Mapping[str, Any] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    attempt: int
    launch_key: str = field(repr=False)
    connection_info: ConnectionInfo
    ownership: Ownership = Ownership()  # noqa: RUF009 - frozen

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object; it holds secrets.

        `version` and `kernel_id` have these names and types in all versions. `connection_info` is JSON
        in a string.
        """
        return {
            "version": VERSION,
            "kernel_id": self.kernel_id,
            "kernel_name": self.kernel_name,
            "kernel_spec": dict(self.kernel_spec),
            "environment": dict(self.environment),
            "attempt": self.attempt,
            "launch_key": self.launch_key,
            "connection_info": self.connection_info.to_json(),
            "ownership": self.ownership.to_json(),
        }

    @classmethod
    def from_json(cls, value: object) -> KernelRecord:
        """Read what `to_json` of this release, or of the one before, returned.

        Raises:
            NewerRecord: a later release wrote it.
            ProtocolError: it is malformed; the message names the field.
        """
        if not isinstance(value, Mapping):
            raise ProtocolError("The kernel's record is not a JSON object.")
        version = _number(value, "version")
        if version > VERSION:
            kernel_id = value.get("kernel_id")
            raise NewerRecord(kernel_id if isinstance(kernel_id, str) else "", version)
        if version < OLDEST_VERSION:
            raise _malformed("version")
        return cls(
            kernel_id=_text(value, "kernel_id"),
            kernel_name=_text(value, "kernel_name"),
            kernel_spec=_object(value, "kernel_spec"),
            environment=_environment(value),
            attempt=_number(value, "attempt"),
            launch_key=_text(value, "launch_key"),
            connection_info=ConnectionInfo.from_json(_text(value, "connection_info")),
            ownership=Ownership.from_json(value.get("ownership", {"owner": ""})),
        )


def _malformed(name: str) -> ProtocolError:
    return ProtocolError(f"The {name} of the kernel's record is missing or malformed.")


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value:
        raise _malformed(name)
    return value


def _number(record: Mapping[str, Any], name: str) -> int:
    value = record.get(name)
    if type(value) is not int or value < 1:
        raise _malformed(name)
    return value


def _object(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    if not isinstance(value, dict):
        raise _malformed(name)
    return value


def _environment(record: Mapping[str, Any]) -> Mapping[str, str]:
    environment = _object(record, "environment")
    if not all(isinstance(value, str) for value in environment.values()):
        raise _malformed("environment")
    return environment
