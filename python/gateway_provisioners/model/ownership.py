"""The owner of a kernel, and others who may use it: pure.

The gateway stores it with the kernel: in the annotations of its pod and in its record.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from gateway_provisioners.errors import ProtocolError

OWNER_ANNOTATION = "gateway-provisioners/owner"
OWNER_GROUPS_ANNOTATION = "gateway-provisioners/owner-groups"
SHARED_USERS_ANNOTATION = "gateway-provisioners/shared-with-users"
SHARED_GROUPS_ANNOTATION = "gateway-provisioners/shared-with-groups"


class Access(IntEnum):
    """The rights of a user on a kernel; each level includes those before it."""

    NONE = 0
    """Nothing, as if the kernel did not exist."""
    READ = 1
    """See it, and what it publishes."""
    FULL = 2
    """Run code in it, interrupt, restart and end it."""
    OWNER = 3
    """Share it with others."""


# The levels that an owner can give to others, by their names in requests and annotations.
SHARED_ACCESS: Mapping[str, Access] = MappingProxyType({"read": Access.READ, "full": Access.FULL})


@dataclass(frozen=True)
class Ownership:
    """The owner of a kernel, and those with whom it is shared.

    Attributes:
        owner: the user's name; "" for a kernel that belongs to the administrators.
        groups: the owner's groups when the kernel was started.
        users: by name, the users with whom it is shared, and their access.
        shared_groups: by name, the groups with whom it is shared, and their access.
    """

    owner: str = ""
    groups: tuple[str, ...] = ()
    users: Mapping[str, Access] = field(default_factory=dict)
    shared_groups: Mapping[str, Access] = field(default_factory=dict)

    def access_of(self, user: str, groups: Collection[str]) -> Access:
        """Return the access of a user without the rights of administrators; "" never has any."""
        if not user:
            return Access.NONE
        if user == self.owner:
            return Access.OWNER
        of_groups = (level for group, level in self.shared_groups.items() if group in groups)
        return max(self.users.get(user, Access.NONE), *of_groups, Access.NONE)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "owner": self.owner,
            "groups": list(self.groups),
            "users": _names(self.users),
            "shared_groups": _names(self.shared_groups),
        }

    @classmethod
    def from_json(cls, value: object) -> Ownership:
        """Read what `to_json` returned.

        Raises:
            ProtocolError: it is malformed.
        """
        owner = value.get("owner") if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or not isinstance(owner, str):
            raise _malformed()
        return cls(
            owner=owner,
            groups=_texts(value.get("groups", [])),
            users=_levels(value.get("users", {})),
            shared_groups=_levels(value.get("shared_groups", {})),
        )

    def annotations(self) -> dict[str, str]:
        """Return it as annotations of a pod."""
        return {
            OWNER_ANNOTATION: self.owner,
            OWNER_GROUPS_ANNOTATION: json.dumps(list(self.groups)),
            SHARED_USERS_ANNOTATION: json.dumps(_names(self.users)),
            SHARED_GROUPS_ANNOTATION: json.dumps(_names(self.shared_groups)),
        }

    @classmethod
    def from_annotations(cls, annotations: Mapping[str, str]) -> Ownership | None:
        """Read what `annotations` returned.

        Returns:
            None for a pod without them, which a gateway of an earlier release made. If they are malformed,
            the kernel is the administrators'.
        """
        if OWNER_ANNOTATION not in annotations:
            return None
        try:
            return cls(
                owner=annotations[OWNER_ANNOTATION],
                groups=_texts(json.loads(annotations.get(OWNER_GROUPS_ANNOTATION, "[]"))),
                users=_levels(json.loads(annotations.get(SHARED_USERS_ANNOTATION, "{}"))),
                shared_groups=_levels(json.loads(annotations.get(SHARED_GROUPS_ANNOTATION, "{}"))),
            )
        except (ValueError, RecursionError, ProtocolError):
            return cls()


def _malformed() -> ProtocolError:
    return ProtocolError("The ownership in the kernel's record is malformed.")


def _names(levels: Mapping[str, Access]) -> dict[str, str]:
    return {name: level.name.lower() for name, level in levels.items()}


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _malformed()
    return tuple(value)


def _levels(value: object) -> Mapping[str, Access]:
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and isinstance(level, str) and level in SHARED_ACCESS
        for name, level in value.items()
    ):
        raise _malformed()
    return {name: SHARED_ACCESS[level] for name, level in value.items()}
