"""What a client asks for when it starts a kernel: the only parser of KERNEL_* variables.

Names and meanings are those of Enterprise Gateway and Gateway Provisioners. A value is data, whatever
characters it holds: it ends up as one string in a Secret or as one checked field of a manifest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from gateway_provisioners.errors import InvalidRequest, PolicyViolation
from gateway_provisioners.model.quantity import parse_count, parse_quantity

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
_RESOURCES = {
    "KERNEL_CPUS": ("requests", "cpu", parse_quantity),
    "KERNEL_CPUS_LIMIT": ("limits", "cpu", parse_quantity),
    "KERNEL_MEMORY": ("requests", "memory", parse_quantity),
    "KERNEL_MEMORY_LIMIT": ("limits", "memory", parse_quantity),
    # Extended resources cannot be overcommitted: a request alone is refused by the API.
    "KERNEL_GPUS": ("limits", "nvidia.com/gpu", parse_count),
    "KERNEL_GPUS_LIMIT": ("limits", "nvidia.com/gpu", parse_count),
}
# Theirs to set only where the administrator says so. The value is what a client may repeat.
_ADMINISTRATORS = (
    "KERNEL_NAMESPACE",
    "KERNEL_POD_NAME",
    "KERNEL_SERVICE_ACCOUNT_NAME",
    "KERNEL_UID",
    "KERNEL_GID",
    "KERNEL_VOLUMES",
    "KERNEL_VOLUME_MOUNTS",
)


@dataclass(frozen=True)
class LaunchRequest:
    """One client's wishes, checked.

    Attributes:
        username: who starts the kernel; free text.
        resources: `requests` and `limits` that override the kernelspec's, in a container's form.
        launch_timeout: seconds the client wants the gateway to wait, or None.
        spark_init_mode: none, lazy or eager; None where the client does not say.
        working_dir: where the client's notebook lies on the client's machine, or None.
        environment: the client's other variables, for the kernel; secret.
    """

    username: str = DEFAULT_USERNAME
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    launch_timeout: int | None = None
    spark_init_mode: str | None = None
    working_dir: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_launch_request(
    environment: Mapping[str, str], *, administrators: Mapping[str, str]
) -> LaunchRequest:
    """Check a client's environment.

    Args:
        environment: what the client sent, and nothing of the gateway's own environment.
        administrators: the value in force of each administrator's setting (KERNEL_UID: "1000").
            A client may repeat it, and may not change it.

    Raises:
        InvalidRequest: a value is malformed.
        PolicyViolation: a setting is the administrator's; the message says which.
    """
    _refuse_administrators_settings(environment, administrators)
    resources: dict[str, dict[str, str]] = {}
    for name, (kind, resource, parse) in _RESOURCES.items():
        if value := environment.get(name):
            resources.setdefault(kind, {})[resource] = parse(name, value)
    handled = _OURS | _SETTINGS | set(_ADMINISTRATORS)
    return LaunchRequest(
        username=environment.get("KERNEL_USERNAME") or DEFAULT_USERNAME,
        resources=resources,
        launch_timeout=_launch_timeout(environment),
        spark_init_mode=_spark_init_mode(environment),
        working_dir=environment.get("KERNEL_WORKING_DIR"),
        environment=_checked_environment(environment, handled),
    )


def request_variables(resources: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The KERNEL_* variables that ask for `resources`: the inverse of parsing them."""
    return {
        name: resources[kind][resource]
        for name, (kind, resource, _) in _RESOURCES.items()
        if resource in resources.get(kind, {})
    }


def _refuse_administrators_settings(
    environment: Mapping[str, str], administrators: Mapping[str, str]
) -> None:
    for name in _ADMINISTRATORS:
        wanted = environment.get(name)
        if wanted and wanted != administrators.get(name):
            msg = (
                f"{name} is set by the administrator of this gateway and cannot be chosen by a "
                f"client; remove it from the kernel's environment."
            )
            raise PolicyViolation(msg)


def _launch_timeout(environment: Mapping[str, str]) -> int | None:
    value = environment.get("KERNEL_LAUNCH_TIMEOUT")
    if not value:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= 3600:
        msg = f"KERNEL_LAUNCH_TIMEOUT={value!r} is no number of seconds from 1 to 3600."
        raise InvalidRequest(msg)
    return int(value)


def _spark_init_mode(environment: Mapping[str, str]) -> str | None:
    value = environment.get("KERNEL_SPARK_CONTEXT_INIT_MODE") or None
    if value is not None and value not in SPARK_INIT_MODES:
        msg = f"KERNEL_SPARK_CONTEXT_INIT_MODE={value!r} is none of {', '.join(SPARK_INIT_MODES)}."
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
