"""What an administrator leaves to clients: pure.

Each refusal says which value it is about, which setting forbids it, and what is allowed instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway_provisioners.errors import ConfigurationError, InvalidRequest, PolicyViolation
from gateway_provisioners.model.request.quantity import amount

DEFAULT_GPU_RESOURCE = "nvidia.com/gpu"
# In what an administrator writes, for the user's label (`names.user_label`).
USER_PLACEHOLDER = "{username}"

# Decimal and nothing else: whoever reads 0x0, 00, +0 or a digit of another script might read a 0.
_ID = re.compile(r"0|[1-9][0-9]{0,9}")
_HIGHEST_ID = 2**31 - 1  # of Kubernetes, for users and groups
_ID_RANGE = re.compile(rf"({_ID.pattern})(?:-({_ID.pattern}))?")
_LONGEST_SHOWN = 80


def shown(value: str) -> str:
    """A client's value as a message quotes it: on one line, and not for pages."""
    return repr(value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}...")


@dataclass(frozen=True)
class ClientPolicy:
    """What clients may ask for.

    Attributes:
        max_cpus, max_memory, max_gpus: the most of each, as a quantity; "" is no limit.
        client_ids: whether clients may choose the user and group id.
        prohibited_uids, prohibited_gids: ids that they may not choose, such as 0 or 0-999.
        client_service_accounts: service accounts that they may choose.
        client_claims: PersistentVolumeClaims that they may mount; {username} stands for the user's label.
        mirror_working_dirs: whether kernels start in the directory that the client names.
        gpu_resource: what Kubernetes calls a GPU here.

    Raises:
        ConfigurationError: a setting cannot be read; it is never read as one that allows more.
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
    gpu_resource: str = DEFAULT_GPU_RESOURCE

    def __post_init__(self) -> None:
        for setting in ("max_cpus", "max_memory", "max_gpus"):
            if most := getattr(self, setting):
                try:
                    amount(most)
                except ConfigurationError as error:
                    msg = f"The setting {setting} cannot be read: {error}"
                    raise ConfigurationError(msg) from error
        for setting in ("prohibited_uids", "prohibited_gids"):
            for value in getattr(self, setting):
                if not _ID_RANGE.fullmatch(value):
                    msg = f"The setting {setting} has {value!r}: no id, as 0 is, and no range, as 0-999."
                    raise ConfigurationError(msg)

    def check_amount(self, name: str, value: str, setting: str) -> None:
        """Let a quantity pass that is not above the maximum.

        Args:
            name: the client's variable.
            setting: which maximum: max_cpus, max_memory or max_gpus.

        Raises:
            PolicyViolation: it is above it.
        """
        most = getattr(self, setting)
        if most and amount(value) > amount(most):
            msg = (
                f"{name}={value!r} is more than clients may ask for of this kernel: at most {most}"
                f" ({setting})."
            )
            raise PolicyViolation(msg)

    def check_id(self, name: str, value: str, *, in_force: str | None, setting: str) -> int:
        """The user or group id that a client asks for.

        Args:
            in_force: the id that the kernel has anyway; None for the image's.
            setting: which ids are not allowed: prohibited_uids or prohibited_gids.

        Raises:
            InvalidRequest: it is no id.
            PolicyViolation: it is not allowed.
        """
        if not _ID.fullmatch(value) or int(value) > _HIGHEST_ID:
            msg = (
                f"{name}={shown(value)} is no id; write it in decimal, without sign, blanks or leading"
                f" zeros, up to {_HIGHEST_ID}."
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
            msg = f"{name}={value} is prohibited; not allowed are: {', '.join(prohibited)} ({setting})."
            raise PolicyViolation(msg)
        return int(value)

    def check_service_account(self, name: str, value: str, *, in_force: str | None) -> str:
        """The service account that a client asks for.

        Raises:
            PolicyViolation: it is not allowed.
        """
        allowed = [in_force or "", *self.client_service_accounts]
        if value not in allowed:
            raise PolicyViolation(
                refusal(name, value, allowed=allowed, setting="client_service_accounts")
            )
        return value

    def claims_of(self, user: str) -> list[str]:
        """The claims that a user with this label may mount."""
        return [claim.replace(USER_PLACEHOLDER, user) for claim in self.client_claims]


def refusal(name: str, value: str, *, allowed: Sequence[str], setting: str = "") -> str:
    """Why a client may not choose a value of the administrator's.

    Args:
        allowed: the values that it may repeat; empty ones do not count.
        setting: where the administrator could allow more.
    """
    may = " or ".join(repr(each) for each in allowed if each)
    return (
        f"{name}={shown(value)} is not allowed: it is set by the administrator of this gateway"
        + (f", to {may}" if may else "")
        + (f" ({setting})" if setting else "")
        + f". Remove {name} from the kernel's environment."
    )


def _ranges(ids: Sequence[str]) -> Iterator[tuple[int, int]]:
    for text in ids:
        lowest, _, highest = text.partition("-")
        yield int(lowest), int(highest or lowest)
