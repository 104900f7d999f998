"""What a client asks for when it starts a kernel: the only parser of KERNEL_* variables.

Names and meanings are those of Enterprise Gateway and Gateway Provisioners. A value is data, whatever
characters it holds: it ends up as one string in a Secret or as one checked field of a manifest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners.errors import InvalidRequest, PolicyViolation
from gateway_provisioners.model.names import user_label
from gateway_provisioners.model.request.client_policy import ClientPolicy, refusal, shown
from gateway_provisioners.model.request.client_volumes import MOUNTS, VOLUMES, parse_client_volumes
from gateway_provisioners.model.request.quantity import parse_count, parse_limit, parse_quantity

DEFAULT_USERNAME = "jovyan"
MAX_ENVIRONMENT_BYTES = 512 * 1024  # a Secret holds 1 MiB, and ours holds more than this

SPARK_INIT_MODES = ("none", "lazy", "eager")

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Set by us for every kernel, whatever the client says.
_OURS = frozenset(
    {
        "KERNEL_ID",
        "KERNEL_NAME",
        "KERNEL_LANGUAGE",
        "KERNEL_USERNAME",
        "KERNEL_IMAGE",
        "KERNEL_EXECUTOR_IMAGE",
        "KERNEL_CLASS_NAME",
        "KERNEL_GATEWAY_FEATURES",
        "KERNEL_LAUNCH_KEY",
        "KERNEL_TRANSPORT_ENCRYPTION",
        "RESPONSE_ADDRESS",
        "PUBLIC_KEY",
        "PORT_RANGE",
    }
)
_SETTINGS = frozenset(
    {
        "KERNEL_CPUS",
        "KERNEL_CPUS_LIMIT",
        "KERNEL_MEMORY",
        "KERNEL_MEMORY_LIMIT",
        "KERNEL_GPUS",
        "KERNEL_GPUS_LIMIT",
        "KERNEL_LAUNCH_TIMEOUT",
        "KERNEL_SPARK_CONTEXT_INIT_MODE",
        "KERNEL_WORKING_DIR",
    }
)
_GPU = "gpu"
# Where it goes in a container's resources, how it is read, and which maximum holds for it.
_RESOURCES = {
    "KERNEL_CPUS": ("requests", "cpu", parse_quantity, "max_cpus"),
    "KERNEL_CPUS_LIMIT": ("limits", "cpu", parse_limit, "max_cpus"),
    "KERNEL_MEMORY": ("requests", "memory", parse_quantity, "max_memory"),
    "KERNEL_MEMORY_LIMIT": ("limits", "memory", parse_limit, "max_memory"),
    # Extended resources cannot be overcommitted: a request alone is refused by the API.
    "KERNEL_GPUS": ("limits", _GPU, parse_count, "max_gpus"),
    "KERNEL_GPUS_LIMIT": ("limits", _GPU, parse_count, "max_gpus"),
}
# Theirs to set only where the administrator says so.
_CHOSEN = ("KERNEL_SERVICE_ACCOUNT_NAME", "KERNEL_UID", "KERNEL_GID", VOLUMES, MOUNTS)
# The administrator's in any case. The value is what a client may repeat.
_ADMINISTRATORS = ("KERNEL_NAMESPACE", "KERNEL_POD_NAME")


@dataclass(frozen=True)
class LaunchRequest:
    """One client's wishes, checked.

    Attributes:
        username: who starts the kernel; free text.
        resources: `requests` and `limits` that override the kernelspec's, in a container's form.
        launch_timeout: seconds the client wants the gateway to wait, or None.
        spark_init_mode: none, lazy or eager; None where the client does not say.
        working_dir: where the client's notebook lies on the client's machine, if the kernel shall be
            there; else None.
        run_as_user, run_as_group: ids that the client asks for, or None.
        service_account_name: what the client asks for, or "".
        volumes, volume_mounts: what the client mounts, as in a Pod and in its container.
        environment: the client's other variables, for the kernel; secret.
    """

    username: str = DEFAULT_USERNAME
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    launch_timeout: int | None = None
    spark_init_mode: str | None = None
    working_dir: str | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    service_account_name: str = ""
    volumes: Sequence[Mapping[str, Any]] = ()
    volume_mounts: Sequence[Mapping[str, Any]] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_launch_request(
    environment: Mapping[str, str],
    *,
    administrators: Mapping[str, str],
    policy: ClientPolicy = ClientPolicy(),  # noqa: B008 - frozen
) -> LaunchRequest:
    """Check a client's environment.

    Args:
        environment: what the client sent, and nothing of the gateway's own environment.
        administrators: the value in force of each administrator's setting (KERNEL_UID: "1000").
            A client may repeat it.
        policy: what a client may choose besides.

    Raises:
        InvalidRequest: a value is malformed.
        PolicyViolation: a value is not allowed; the message says which, and what is.
    """
    _refuse_administrators_settings(environment, administrators)
    _check_mailbox_bytes(environment)
    handled = _OURS | _SETTINGS | {*_CHOSEN, *_ADMINISTRATORS}
    username = environment.get("KERNEL_USERNAME") or DEFAULT_USERNAME
    volumes, mounts = parse_client_volumes(environment, policy.claims_of(user_label(username)))
    return LaunchRequest(
        username=username,
        resources=_resources(environment, policy),
        launch_timeout=_launch_timeout(environment),
        spark_init_mode=_spark_init_mode(environment),
        working_dir=_working_dir(environment) if policy.mirror_working_dirs else None,
        run_as_user=_id("KERNEL_UID", environment, administrators, policy, "prohibited_uids"),
        run_as_group=_id("KERNEL_GID", environment, administrators, policy, "prohibited_gids"),
        service_account_name=_service_account(environment, administrators, policy),
        volumes=volumes,
        volume_mounts=mounts,
        environment=_checked_environment(environment, handled),
    )


def request_variables(
    resources: Mapping[str, Mapping[str, str]], *, gpu_resource: str
) -> dict[str, str]:
    """The KERNEL_* variables that ask for `resources`: the inverse of parsing them."""
    variables = {}
    for name, (kind, known, _, _) in _RESOURCES.items():
        resource = gpu_resource if known is _GPU else known
        if resource in resources.get(kind, {}):
            variables[name] = resources[kind][resource]
    return variables


def _resources(environment: Mapping[str, str], policy: ClientPolicy) -> dict[str, dict[str, str]]:
    resources: dict[str, dict[str, str]] = {}
    for name, (kind, known, parse, setting) in _RESOURCES.items():
        if value := environment.get(name):
            resource = policy.gpu_resource if known is _GPU else known
            resources.setdefault(kind, {})[resource] = parse(name, value)
            policy.check_amount(name, value, setting)
    return resources


def _id(
    name: str,
    environment: Mapping[str, str],
    administrators: Mapping[str, str],
    policy: ClientPolicy,
    setting: str,
) -> int | None:
    if not (value := environment.get(name)):
        return None
    return policy.check_id(name, value, in_force=administrators.get(name), setting=setting)


def _service_account(
    environment: Mapping[str, str], administrators: Mapping[str, str], policy: ClientPolicy
) -> str:
    name = "KERNEL_SERVICE_ACCOUNT_NAME"
    if not (value := environment.get(name)):
        return ""
    return policy.check_service_account(name, value, in_force=administrators.get(name))


def _refuse_administrators_settings(
    environment: Mapping[str, str], administrators: Mapping[str, str]
) -> None:
    for name in _ADMINISTRATORS:
        wanted, in_force = environment.get(name), administrators.get(name, "")
        if wanted and wanted != in_force:
            raise PolicyViolation(refusal(name, wanted, allowed=[in_force]))


def _launch_timeout(environment: Mapping[str, str]) -> int | None:
    value = environment.get("KERNEL_LAUNCH_TIMEOUT")
    if not value:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= 3600:
        msg = f"KERNEL_LAUNCH_TIMEOUT={value!r} is no number of seconds from 1 to 3600."
        raise InvalidRequest(msg)
    return int(value)


def _check_mailbox_bytes(environment: Mapping[str, str]) -> None:
    """Check what the launcher reads, and would refuse only in the kernel's container."""
    value = environment.get("KERNEL_MAILBOX_BYTES")
    if value and not re.fullmatch(r"[0-9]{1,10}", value):
        msg = f"KERNEL_MAILBOX_BYTES={shown(value)} must be a whole number of bytes from 0 to 9999999999."
        raise InvalidRequest(msg)


def _spark_init_mode(environment: Mapping[str, str]) -> str | None:
    value = environment.get("KERNEL_SPARK_CONTEXT_INIT_MODE") or None
    if value is not None and value not in SPARK_INIT_MODES:
        msg = f"KERNEL_SPARK_CONTEXT_INIT_MODE={value!r} is none of {', '.join(SPARK_INIT_MODES)}."
        raise InvalidRequest(msg)
    return value


def _working_dir(environment: Mapping[str, str]) -> str | None:
    value = environment.get("KERNEL_WORKING_DIR") or None
    if value is not None and (not value.startswith("/") or "\0" in value or not _is_utf8(value)):
        msg = f"KERNEL_WORKING_DIR={shown(value)} is no absolute path in the kernel's container."
        raise InvalidRequest(msg)
    return value


def _checked_environment(environment: Mapping[str, str], handled: Set[str]) -> dict[str, str]:
    checked = {}
    size = 0
    for name, value in environment.items():
        if name in handled:
            continue
        if not _ENV_NAME.fullmatch(name):
            msg = f"{name!r} is no name for an environment variable."
            raise InvalidRequest(msg)
        if "\0" in value or not _is_utf8(value):
            msg = f"The value of {name} is not text: it holds a NUL or half of a character."
            raise InvalidRequest(msg)
        size += len(name) + len(value.encode())
        checked[name] = value
    if size > MAX_ENVIRONMENT_BYTES:
        msg = (
            f"The kernel's environment has {size} bytes; at most {MAX_ENVIRONMENT_BYTES} can be "
            "passed. Put large data into a file or a volume."
        )
        raise InvalidRequest(msg)
    return checked


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
