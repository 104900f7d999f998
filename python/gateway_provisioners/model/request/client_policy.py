"""The choices that an administrator leaves to clients: pure.

Each refusal names the value, the setting that forbids it, and what is allowed instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway_provisioners.errors import ConfigurationError, InvalidRequest, PolicyViolation
from gateway_provisioners.model.quoting import quoted
from gateway_provisioners.model.request.quantity import amount

DEFAULT_GPU_RESOURCE = "nvidia.com/gpu"
# Replaced by the user's label (`names.user_label`) in settings.
USER_PLACEHOLDER = "{username}"

# Plain decimal only: another program might read 0x0, 00, +0 or a digit of another script as 0.
_ID = re.compile(r"0|[1-9][0-9]{0,9}")
_HIGHEST_ID = 2**31 - 1  # the maximum of Kubernetes, for users and groups
_ID_RANGE = re.compile(rf"({_ID.pattern})(?:-({_ID.pattern}))?")


@dataclass(frozen=True)
class ClientPolicy:
    """The values that clients may ask for.

    Attributes:
        max_cpus, max_memory, max_gpus: the maximum of each, as a quantity; "" for the kernel's own limit.
            A kernel without a limit of its own has no maximum for CPUs and memory, and 0 for GPUs.
        client_ids: whether clients may choose the user and group id.
        prohibited_uids, prohibited_gids: ids that they may not choose, such as 0 or 0-999.
        client_service_accounts: service accounts that they may choose.
        client_claims: PersistentVolumeClaims that they may mount; {username} stands for the user's label.
        mirror_working_dirs: whether kernels start in the directory that the client names.
        client_spark_options: whether clients may add options to spark-submit.
        gpu_resource: the name of the GPU resource in this cluster.

    Raises:
        ConfigurationError: a setting is not valid; it is never treated as one that allows more.
    """

    max_cpus: str = ""
    max_memory: str = ""
    max_gpus: str = ""
    client_ids: bool = False
    prohibited_uids: Sequence[str] = ("0",)
    prohibited_gids: Sequence[str] = ("0",)
    client_service_accounts: Sequence[str] = ()
    client_claims: Sequence[str] = ()
    mirror_working_dirs: bool = False
    client_spark_options: bool = False
    gpu_resource: str = DEFAULT_GPU_RESOURCE

    def __post_init__(self) -> None:
        for setting in ("max_cpus", "max_memory", "max_gpus"):
            if maximum := getattr(self, setting):
                try:
                    amount(maximum)
                except ConfigurationError as error:
                    msg = f"The setting {setting} cannot be read: {error}"
                    raise ConfigurationError(msg) from error
        for claim in self.client_claims:
            if not claim.replace(USER_PLACEHOLDER, ""):
                msg = (
                    f"The setting client_claims contains {claim!r}, so that a user's name could name any"
                    f" volume; write for example home-{USER_PLACEHOLDER}."
                )
                raise ConfigurationError(msg)
        for setting in ("prohibited_uids", "prohibited_gids"):
            for value in getattr(self, setting):
                if not _ID_RANGE.fullmatch(value):
                    msg = (
                        f"The setting {setting} contains {value!r}; each item must be a numeric id (0) or a"
                        " range (0-999)."
                    )
                    raise ConfigurationError(msg)
                [(lowest, highest)] = _ranges([value])
                if lowest > highest:
                    msg = (
                        f"The setting {setting} contains {value!r}, which must begin with the lower id; write"
                        f" {highest}-{lowest}."
                    )
                    raise ConfigurationError(msg)

    def check_amount(self, name: str, value: str, setting: str, *, kernels_own: Any) -> None:
        """Check that a quantity is not above the maximum.

        Args:
            name: the client's variable.
            setting: which maximum: max_cpus, max_memory or max_gpus.
            kernels_own: the limit in the kernelspec, which is the maximum unless the setting has one; or
                None.

        Raises:
            PolicyViolation: it is.
            ConfigurationError: the kernel's own limit cannot be read.
        """
        beyond = f"{name}={quoted(value)} is more than clients may request for this kernel: at most"
        if maximum := getattr(self, setting):
            if amount(value) > amount(maximum):
                raise PolicyViolation(f"{beyond} {maximum} ({setting}).")
            return
        try:
            own = amount(str(kernels_own or 0))
        except ConfigurationError as error:
            msg = f"The kernel's own limit, which bounds {name}, cannot be read: {error}"
            raise ConfigurationError(msg) from error
        # To engines a limit of 0 CPUs or bytes means none; 0 GPUs are 0.
        if amount(value) > own and (own or setting == "max_gpus"):
            msg = (
                f"{beyond} {kernels_own or 0}, the kernel's own limit. An administrator can allow more with"
                f" {setting}."
            )
            raise PolicyViolation(msg)

    def check_id(self, name: str, value: str, *, in_force: str | None, setting: str) -> int:
        """Return the user or group id that a client asks for.

        Args:
            in_force: the id that the kernel has otherwise; None for the image's.
            setting: the list of prohibited ids: prohibited_uids or prohibited_gids.

        Raises:
            InvalidRequest: it is not a valid id.
            PolicyViolation: it is not allowed.
        """
        if not _ID.fullmatch(value) or int(value) > _HIGHEST_ID:
            msg = (
                f"{name}={quoted(value)} is not a valid id; use a decimal number from 0 to {_HIGHEST_ID},"
                " without sign, blanks or leading zeros."
            )
            raise InvalidRequest(msg)
        if value == in_force:
            return int(value)
        if not self.client_ids:
            raise PolicyViolation(
                refusal(name, value, allowed=[in_force or ""], setting="client_ids")
            )
        prohibited: Sequence[str] = getattr(self, setting)
        if any(lowest <= int(value) <= highest for lowest, highest in _ranges(prohibited)):
            msg = f"{name}={value} is not allowed; prohibited ids: {', '.join(prohibited)} ({setting})."
            raise PolicyViolation(msg)
        return int(value)

    def check_service_account(self, name: str, value: str, *, in_force: str | None) -> str:
        """Return the service account that a client asks for.

        Raises:
            PolicyViolation: it is not allowed.
        """
        allowed = [in_force or "", *self.client_service_accounts]
        if value not in allowed:
            raise PolicyViolation(
                refusal(name, value, allowed=allowed, setting="client_service_accounts")
            )
        return value

    def check_spark_options(self, name: str, value: str) -> None:
        """Check whether a client may set options of spark-submit, which may hold secrets.

        Raises:
            PolicyViolation: it may not.
        """
        if value and not self.client_spark_options:
            msg = (
                f"{name} is not allowed: the administrator of this gateway chooses the options of "
                f"spark-submit (client_spark_options). Remove {name} from the kernel's environment."
            )
            raise PolicyViolation(msg)

    def claims_of(self, user: str) -> list[str]:
        """Return the claims that a user with this label may mount."""
        return [claim.replace(USER_PLACEHOLDER, user) for claim in self.client_claims]


def refusal(name: str, value: str, *, allowed: Sequence[str], setting: str = "") -> str:
    """Return the message that a client may not choose a value.

    Args:
        allowed: the values that it may choose; empty ones are skipped.
        setting: the setting with which the administrator could allow more.
    """
    may = " or ".join(repr(each) for each in allowed if each)
    return (
        f"{name}={quoted(value)} is not allowed: it is set by the administrator of this gateway"
        + (f", to {may}" if may else "")
        + (f" ({setting})" if setting else "")
        + f". Remove {name} from the kernel's environment."
    )


def _ranges(ids: Sequence[str]) -> Iterator[tuple[int, int]]:
    for text in ids:
        lowest, _, highest = text.partition("-")
        yield int(lowest), int(highest or lowest)
