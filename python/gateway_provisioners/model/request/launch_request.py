"""Parse the KERNEL_* variables of a client that starts a kernel.

Names and meanings are those of Enterprise Gateway and Gateway Provisioners. A value is data, whatever
characters it contains: it becomes one string in a Secret, or one checked field of a manifest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gateway_provisioners.errors import InvalidRequest, PolicyViolation
from gateway_provisioners.model.names import user_label
from gateway_provisioners.model.quoting import quoted
from gateway_provisioners.model.request.client_policy import ClientPolicy, refusal
from gateway_provisioners.model.request.client_volumes import MOUNTS, VOLUMES, parse_client_volumes
from gateway_provisioners.model.request.launcher_variables import (
    EXPANDED,
    NOT_FOR_CLIENTS,
    SPARK_OPTIONS,
)
from gateway_provisioners.model.request.mailbox import check_mailbox_variables
from gateway_provisioners.model.request.quantity import (
    parse_count,
    parse_cpu_limit,
    parse_memory_limit,
    parse_quantity,
)

DEFAULT_USERNAME = "jovyan"
MAX_ENVIRONMENT_BYTES = 512 * 1024  # a Secret holds 1 MiB, and ours contains more than this

SPARK_INIT_MODES = ("none", "lazy", "eager")

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

ORPHAN_TIMEOUT = "KERNEL_ORPHAN_TIMEOUT"
_SHORTEST_ORPHAN_TIMEOUT = 10
_LONGEST_ORPHAN_TIMEOUT = 366 * 24 * 3600

_SETTINGS = frozenset(
    {
        "KERNEL_CPUS",
        "KERNEL_CPUS_LIMIT",
        "KERNEL_MEMORY",
        "KERNEL_MEMORY_LIMIT",
        "KERNEL_GPUS",
        "KERNEL_GPUS_LIMIT",
        "KERNEL_LAUNCH_TIMEOUT",
        ORPHAN_TIMEOUT,
        "KERNEL_SPARK_CONTEXT_INIT_MODE",
        "KERNEL_WORKING_DIR",
    }
)
_GPU = "gpu"
# Each variable's place in a container's resources, its parser, and the setting of its maximum.
_RESOURCES = {
    "KERNEL_CPUS": ("requests", "cpu", parse_quantity, "max_cpus"),
    "KERNEL_CPUS_LIMIT": ("limits", "cpu", parse_cpu_limit, "max_cpus"),
    "KERNEL_MEMORY": ("requests", "memory", parse_quantity, "max_memory"),
    "KERNEL_MEMORY_LIMIT": ("limits", "memory", parse_memory_limit, "max_memory"),
    # Extended resources cannot be overcommitted: a request alone is refused by the API.
    "KERNEL_GPUS": ("limits", _GPU, parse_count, "max_gpus"),
    "KERNEL_GPUS_LIMIT": ("limits", _GPU, parse_count, "max_gpus"),
}
_ALLOWED_BY_POLICY = ("KERNEL_SERVICE_ACCOUNT_NAME", "KERNEL_UID", "KERNEL_GID", VOLUMES, MOUNTS)
# A client may only repeat the value in force.
_ADMIN_ONLY = ("KERNEL_NAMESPACE", "KERNEL_POD_NAME")


@dataclass(frozen=True)
class LaunchRequest:
    """A client's checked request.

    Attributes:
        username: the user who starts the kernel; free text.
        resources: `requests` and `limits` that override the kernelspec's, in the form of a container.
        launch_timeout: seconds the client wants the gateway to wait, or None.
        spark_init_mode: none, lazy or eager; None if not set.
        working_dir: the directory of the notebook on the client's machine, if the kernel should start
            in a directory of that name; else None.
        run_as_user, run_as_group: ids that the client asks for, or None.
        service_account_name: that the client asks for, or "".
        volumes, volume_mounts: that the client asks for, in the form of a Pod and its container.
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
    admin_settings: Mapping[str, str],
    policy: ClientPolicy = ClientPolicy(),  # noqa: B008 - frozen
    kernel_limits: Mapping[str, Any] = MappingProxyType({}),
) -> LaunchRequest:
    """Check a client's environment.

    Args:
        environment: the client's variables, without any of the gateway's own environment.
        admin_settings: the value in force of each administrator's setting (KERNEL_UID: "1000").
            A client may repeat it.
        policy: what else clients may choose.
        kernel_limits: the kernel's own limits, by resource.

    Raises:
        InvalidRequest: a value is malformed.
        PolicyViolation: a value is not allowed; the message says which, and what is allowed.
    """
    _refuse_admin_settings(environment, admin_settings)
    check_mailbox_variables(environment)
    orphan_timeout(environment)
    policy.check_spark_options(SPARK_OPTIONS, environment.get(SPARK_OPTIONS, ""))
    handled = NOT_FOR_CLIENTS | _SETTINGS | {*_ALLOWED_BY_POLICY, *_ADMIN_ONLY}
    username = environment.get("KERNEL_USERNAME") or DEFAULT_USERNAME
    volumes, mounts = parse_client_volumes(environment, policy.claims_of(user_label(username)))
    return LaunchRequest(
        username=username,
        resources=_resources(environment, policy, kernel_limits),
        launch_timeout=_launch_timeout(environment),
        spark_init_mode=_spark_init_mode(environment),
        working_dir=_working_dir(environment) if policy.mirror_working_dirs else None,
        run_as_user=_id("KERNEL_UID", environment, admin_settings, policy, "prohibited_uids"),
        run_as_group=_id("KERNEL_GID", environment, admin_settings, policy, "prohibited_gids"),
        service_account_name=_service_account(environment, admin_settings, policy),
        volumes=volumes,
        volume_mounts=mounts,
        environment=_checked_environment(environment, handled),
    )


def orphan_timeout(environment: Mapping[str, str]) -> int:
    """Return after how many seconds without any connection a client wants its kernel to be shut down.

    Returns:
        the seconds; 0 for never.

    Raises:
        InvalidRequest: the variable is malformed.
    """
    value = environment.get(ORPHAN_TIMEOUT) or "0"
    if re.fullmatch(r"[0-9]{1,8}", value):
        seconds = int(value)
        if not seconds or _SHORTEST_ORPHAN_TIMEOUT <= seconds <= _LONGEST_ORPHAN_TIMEOUT:
            return seconds
    msg = (
        f"{ORPHAN_TIMEOUT}={quoted(value)} must be a whole number of seconds from "
        f"{_SHORTEST_ORPHAN_TIMEOUT} to {_LONGEST_ORPHAN_TIMEOUT}, or 0 for never."
    )
    raise InvalidRequest(msg)


def request_variables(
    resources: Mapping[str, Mapping[str, str]], *, gpu_resource: str
) -> dict[str, str]:
    """Return the KERNEL_* variables that ask for `resources`: the inverse of parsing them."""
    variables = {}
    for name, (kind, known, _, _) in _RESOURCES.items():
        resource = gpu_resource if known is _GPU else known
        if resource in resources.get(kind, {}):
            variables[name] = resources[kind][resource]
    return variables


def _resources(
    environment: Mapping[str, str], policy: ClientPolicy, kernel_limits: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    resources: dict[str, dict[str, str]] = {}
    for name, (kind, known, parse, setting) in _RESOURCES.items():
        if value := environment.get(name):
            resource = policy.gpu_resource if known is _GPU else known
            resources.setdefault(kind, {})[resource] = parse(name, value)
            policy.check_amount(name, value, setting, kernels_own=kernel_limits.get(resource))
    return resources


def _id(
    name: str,
    environment: Mapping[str, str],
    admin_settings: Mapping[str, str],
    policy: ClientPolicy,
    setting: str,
) -> int | None:
    if not (value := environment.get(name)):
        return None
    return policy.check_id(name, value, in_force=admin_settings.get(name), setting=setting)


def _service_account(
    environment: Mapping[str, str], admin_settings: Mapping[str, str], policy: ClientPolicy
) -> str:
    name = "KERNEL_SERVICE_ACCOUNT_NAME"
    if not (value := environment.get(name)):
        return ""
    return policy.check_service_account(name, value, in_force=admin_settings.get(name))


def _refuse_admin_settings(
    environment: Mapping[str, str], admin_settings: Mapping[str, str]
) -> None:
    for name in _ADMIN_ONLY:
        wanted, in_force = environment.get(name), admin_settings.get(name, "")
        if wanted and wanted != in_force:
            raise PolicyViolation(refusal(name, wanted, allowed=[in_force]))


def _launch_timeout(environment: Mapping[str, str]) -> int | None:
    value = environment.get("KERNEL_LAUNCH_TIMEOUT")
    if not value:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= 3600:
        msg = f"KERNEL_LAUNCH_TIMEOUT={quoted(value)} must be a whole number of seconds from 1 to 3600."
        raise InvalidRequest(msg)
    return int(value)


def _spark_init_mode(environment: Mapping[str, str]) -> str | None:
    value = environment.get("KERNEL_SPARK_CONTEXT_INIT_MODE") or None
    if value is not None and value not in SPARK_INIT_MODES:
        known = ", ".join(SPARK_INIT_MODES)
        msg = f"KERNEL_SPARK_CONTEXT_INIT_MODE={quoted(value)} must be one of: {known}."
        raise InvalidRequest(msg)
    return value


def _working_dir(environment: Mapping[str, str]) -> str | None:
    value = environment.get("KERNEL_WORKING_DIR") or None
    if value is not None and (not value.startswith("/") or "\0" in value or not _is_utf8(value)):
        msg = f"KERNEL_WORKING_DIR={quoted(value)} must be an absolute path in the kernel's container."
        raise InvalidRequest(msg)
    return value


def _checked_environment(environment: Mapping[str, str], handled: Set[str]) -> dict[str, str]:
    checked = {}
    size = 0
    for name, value in environment.items():
        if name in handled or name.startswith(EXPANDED):
            continue
        if not _ENV_NAME.fullmatch(name):
            msg = f"{quoted(name)} is not a valid name of an environment variable."
            raise InvalidRequest(msg)
        if "\0" in value or not _is_utf8(value):
            msg = f"The value of {name} contains a NUL character or is not valid UTF-8."
            raise InvalidRequest(msg)
        size += len(name) + len(value.encode())
        checked[name] = value
    if size > MAX_ENVIRONMENT_BYTES:
        msg = (
            f"The kernel's environment has {size} bytes, more than the limit of {MAX_ENVIRONMENT_BYTES}."
            " Put large data in a file or a volume."
        )
        raise InvalidRequest(msg)
    return checked


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
