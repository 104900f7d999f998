"""The groups of `userGroups`, which users have besides those that their credentials name."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import msgspec

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import Identity
from gateway_provisioners.gateway.identity.methods.base import Method, is_name
from gateway_provisioners.gateway.identity.reloaded import Reloaded, file_stamp

_LARGEST_FILE = 4 * 1024 * 1024  # a ConfigMap holds 1 MiB


class UserGroups:
    """The groups in a file, `{"GROUP": ["USER", ...]}`, which is read again when it changes.

    A file that is malformed then changes nothing; one that is missing has no groups.

    Args:
        path: the file, or "": no groups.
        monotonic: returns seconds, which never go back.

    Raises:
        ConfigurationError: the file is malformed at the start.
    """

    def __init__(self, path: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        file = Path(path)
        self._file = (
            Reloaded(lambda: file_stamp(file), lambda: _read(file), monotonic) if path else None
        )

    async def refresh(self) -> None:
        """Notice a change of the file."""
        if self._file is not None:
            await self._file.refresh()

    def of(self, user: str) -> frozenset[str]:
        """Return the groups of a user."""
        return frozenset() if self._file is None else self._file.value.get(user, frozenset())


class MethodWithUserGroups:
    """A method whose users also have the groups of `userGroups`.

    Args:
        method: the method.
        admin_groups: the groups whose members are administrators.
        groups: the groups.
    """

    def __init__(self, method: Method, admin_groups: Collection[str], groups: UserGroups) -> None:
        self.name = method.name
        self.order = method.order
        self._method = method
        self._admin_groups = frozenset(admin_groups)
        self._groups = groups

    async def refresh(self) -> None:
        await self._groups.refresh()
        await self._method.refresh()

    def fits(self, credential: Credential) -> bool:
        return self._method.fits(credential)

    async def identify(self, credential: Credential) -> Identity:
        identity = await self._method.identify(credential)
        groups = self._groups.of(identity.name) if identity.name else frozenset()
        if not groups:
            return identity
        return replace(
            identity,
            groups=identity.groups | groups,
            is_admin=identity.is_admin or not groups.isdisjoint(self._admin_groups),
        )

    async def close(self) -> None:
        await self._method.close()


def _read(path: Path) -> dict[str, frozenset[str]]:
    """Return the groups by user."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(
            f"The file of user groups, {path}, cannot be read: {error.strerror}."
        ) from None
    if len(content) > _LARGEST_FILE:
        raise ConfigurationError(
            f"The file of user groups, {path}, is larger than {_LARGEST_FILE} bytes."
        )
    try:
        members = msgspec.json.decode(content, type=dict[str, list[str]])
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ConfigurationError(
            f"The file of user groups, {path}, must be JSON, a list of users for each group: {error}."
        ) from None
    if not all(map(is_name, members)):
        raise ConfigurationError(
            f"The file of user groups, {path}, has a group without a name of printable characters."
        )
    groups: dict[str, set[str]] = {}
    for group, users in members.items():
        for user in users:
            groups.setdefault(user, set()).add(group)
    return {user: frozenset(names) for user, names in groups.items()}
