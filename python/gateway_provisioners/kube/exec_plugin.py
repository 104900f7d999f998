"""Credentials from the program that a kubeconfig names, such as `aws eks get-token`.

The exchange is client.authentication.k8s.io: the program gets KUBERNETES_EXEC_INFO, and prints an
ExecCredential. Its output is never logged, nor in an error: it holds the credential.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from gateway_provisioners.aio import within
from gateway_provisioners.errors import ClusterError, ConfigurationError
from gateway_provisioners.kube.refusals import problems

# Programs that ask a cloud answer within a few seconds; one that asks a person never does.
TIMEOUT_SECONDS = 30.0
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_END_SECONDS = 1.0
_LARGEST_OUTPUT = 1024 * 1024
_LONGEST_COMPLAINT = 300
# Programs that trace what they do may print a token as part of it.
_SECRET = re.compile(r"[A-Za-z0-9+/_=.~-]{32,}")


@dataclass(frozen=True)
class ExecCredential:
    """The credential that a program printed: a token, a certificate with its key, or both.

    Attributes:
        expires_at: seconds since the epoch, or None.
    """

    token: str = field(repr=False)
    certificate: str = field(repr=False)
    key: str = field(repr=False)
    expires_at: float | None


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Variable(_Model):
    name: str
    value: str


class _Settings(_Model):
    """The part `exec` of a kubeconfig's user."""

    command: str
    api_version: str
    args: list[str] | None = None
    env: list[_Variable] | None = None
    interactive_mode: str = ""
    provide_cluster_info: bool = False


class _Status(_Model):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _Output(_Model):
    api_version: str
    status: _Status


async def run(
    settings: object,
    *,
    cluster: Mapping[str, Any],
    folder: Path,
    timeout: float = TIMEOUT_SECONDS,
) -> ExecCredential:
    """Run the program that a kubeconfig names, and return the credential that it prints.

    Args:
        settings: the kubeconfig's entry `exec`.
        cluster: what a program learns of the cluster if the entry asks for that.
        folder: the kubeconfig's folder, to which a path in the command is relative.
        timeout: seconds after which the program is killed.

    Raises:
        ConfigurationError: the entry is malformed, or its program does not exist.
        ClusterError: the program failed, did not end in time, or printed no credential.
    """
    plugin = _read(settings)
    command = plugin.command
    if os.sep in command:
        command = str(folder / command)
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        spec["cluster"] = dict(cluster)
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    added = {variable.name: variable.value for variable in plugin.env or ()}
    try:
        process = await asyncio.create_subprocess_exec(
            command,
            *(plugin.args or ()),
            env={**os.environ, **added, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that its children can be killed as well
        )
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it holds a NUL character"
        raise ConfigurationError(
            f"The kubeconfig's credential plugin {plugin.command!r} cannot be run: {cause}. "
            "Install it for the user that this process runs as, or correct `exec.command`."
        ) from None
    try:
        output, complaint = await within(timeout, _outputs(process))
    except BaseException as error:
        await _kill(process)
        if isinstance(error, asyncio.TimeoutError):
            raise _failure(
                plugin, f"did not end within {timeout:g} s: it must not ask for input"
            ) from None
        raise
    if process.returncode:
        last = _last_words(complaint)
        raise _failure(plugin, f"ended with exit code {process.returncode}{last and f': {last}'}")
    return _credential(plugin, output)


def _read(settings: object) -> _Settings:
    try:
        plugin = _Settings.model_validate(settings)
    except ValidationError as error:
        raise ConfigurationError(
            f"The kubeconfig's entry `exec` is malformed: {problems(error)}."
        ) from None
    if plugin.api_version not in _VERSIONS:
        raise ConfigurationError(
            f"The kubeconfig's entry `exec` has the apiVersion {plugin.api_version[:60]!r}, which must be "
            f"one of: {', '.join(_VERSIONS)}. Write the kubeconfig again with a current tool."
        )
    if plugin.interactive_mode == "Always":
        raise ConfigurationError(
            f"The kubeconfig's credential plugin {plugin.command!r} needs a terminal (interactiveMode: "
            "Always), which this process does not have. Use a plugin or an account that needs none."
        )
    return plugin


async def _outputs(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    assert process.stdout is not None and process.stderr is not None  # noqa: PT018, S101
    output, complaint, _ = await asyncio.gather(
        _bounded(process.stdout), _bounded(process.stderr), process.wait()
    )
    return output, complaint


async def _bounded(stream: asyncio.StreamReader) -> bytes:
    """Read a stream to its end, and return its last bytes."""
    kept = b""
    while chunk := await stream.read(64 * 1024):
        kept = (kept + chunk)[-_LARGEST_OUTPUT:]
    return kept


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the program and its children, as far as they are still there, and close its pipes."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(asyncio.TimeoutError):  # a child that left the group may hold the pipes
        await within(_END_SECONDS, _outputs(process))


def _credential(plugin: _Settings, output: bytes) -> ExecCredential:
    try:
        printed = _Output.model_validate_json(output)
    except ValidationError:  # whose message quotes the output
        raise _failure(plugin, "did not print an ExecCredential as JSON") from None
    if printed.api_version != plugin.api_version:
        raise _failure(plugin, f"did not print an ExecCredential of {plugin.api_version}")
    status = printed.status
    if not status.token and not (status.client_certificate_data and status.client_key_data):
        raise _failure(plugin, "printed neither a token nor a certificate with its key")
    expires = status.expiration_timestamp
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=timezone.utc)
    return ExecCredential(
        status.token.strip(),
        status.client_certificate_data,
        status.client_key_data,
        expires.timestamp() if expires else None,
    )


def _last_words(complaint: bytes) -> str:
    """Return the last line of what a program wrote to stderr, without what may be a secret."""
    lines = complaint.decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    printable = "".join(character if character.isprintable() else " " for character in last)
    return _SECRET.sub("***", printable)[:_LONGEST_COMPLAINT].rstrip(".")


def _failure(plugin: _Settings, cause: str) -> ClusterError:
    return ClusterError(
        f"The kubeconfig's credential plugin {plugin.command!r} {cause}. Run it by hand to see why."
    )
