"""The contract between the authenticator and its methods."""

from __future__ import annotations

from typing import Annotated, Protocol

import msgspec

from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import Identity, NotIdentified

_LONGEST_NAME = 253
_MOST_GROUPS = 1000
# A pod's annotations hold 256 KiB together.
_LONGEST_GROUPS = 32 * 1024


class Settings(
    msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, rename="camel"
):
    """The settings that all methods have: an entry of `gateway.auth.methods`.

    Attributes:
        order: methods with lower numbers are tried first; None: the default of the type.
        usernames: by the name that the method gives, the user's name here.
        username_prefix: put before the names of all other users.
        group_prefix: put before the names of all groups.
        admin_users: the users, by their names here, who are administrators.
        admin_groups: the groups, by their names here, whose members are administrators.
    """

    order: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None = None
    usernames: dict[str, str] = {}
    username_prefix: str = ""
    group_prefix: str = ""
    admin_users: list[str] = []
    admin_groups: list[str] = []

    def identity(
        self,
        method: str,
        user: str,
        groups: frozenset[str] = frozenset(),
        *,
        expires_at: float | None = None,
    ) -> Identity:
        """Return the identity of a user, from the name and groups that the method gives.

        Raises:
            NotIdentified: they cannot be names of a user and of groups.
        """
        name = self.usernames.get(user) or f"{self.username_prefix}{user}"
        groups = frozenset(f"{self.group_prefix}{group}" for group in groups)
        if not user or not is_name(name):
            raise NotIdentified(
                f"The user's name that comes from {method!r} must have 1 to {_LONGEST_NAME} printable "
                "characters, without spaces at its ends."
            )
        if (
            len(groups) > _MOST_GROUPS
            or sum(map(len, groups)) > _LONGEST_GROUPS
            or not all(map(is_name, groups))
        ):
            raise NotIdentified(
                f"The groups of a user that come from {method!r} must be at most {_MOST_GROUPS} names, of "
                f"{_LONGEST_GROUPS} printable characters in all."
            )
        return Identity(
            name=name,
            groups=groups,
            is_admin=name in self.admin_users or not groups.isdisjoint(self.admin_groups),
            method=method,
            expires_at=expires_at,
        )


class Method(Protocol):
    """One way to show who a client is; `Authenticator` is the only caller."""

    @property
    def name(self) -> str:
        """Its name in the settings."""
        ...

    @property
    def order(self) -> int:
        """Its place: lower numbers are tried first."""
        ...

    async def refresh(self) -> None:
        """Notice changes of its files; called before `fits` for every request."""
        ...

    def fits(self, credential: Credential) -> bool:
        """Return whether the credential is one of this method: then no other method is asked.

        It must not block: called on the event loop for every request.
        """
        ...

    async def identify(self, credential: Credential) -> Identity:
        """Return the identity of a credential that fits; called for every request, so it has to cache.

        Raises:
            NotIdentified: the credential is wrong, expired or revoked.
            IdentityUnavailable: it cannot be checked now.
        """
        ...

    async def close(self) -> None:
        """Release its connections; called once, when the gateway stops."""
        ...


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a user or a group."""
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable() and text == text.strip()
