"""The parser of the body of `PATCH /api/kernels/ID`: pure, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

import msgspec

from gateway_provisioners.errors import InvalidRequest
from gateway_provisioners.model.ownership import SHARED_ACCESS, Access, Ownership

_MOST_SHARES = 100

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
_Shares = Annotated[dict[_Name, Literal["read", "full"]], msgspec.Meta(max_length=_MOST_SHARES)]


class _Share(msgspec.Struct, forbid_unknown_fields=True):
    """The users and the groups with whom a kernel is shared, in place of those before."""

    users: _Shares = {}
    groups: _Shares = {}


class OwnershipRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A change of whose kernel it is.

    Attributes:
        share: with whom it is shared from now on; None: with no other user; UNSET: as before.
        owner: its new owner; "": the administrators; UNSET: as before.
    """

    share: _Share | msgspec.UnsetType | None = msgspec.UNSET
    owner: Annotated[str, msgspec.Meta(max_length=253)] | msgspec.UnsetType = msgspec.UNSET

    def apply(self, before: Ownership) -> Ownership:
        """Return the ownership after the change. A new owner begins without shares and groups."""
        after = before
        if self.owner is not msgspec.UNSET and self.owner != before.owner:
            after = Ownership(owner=self.owner)
        if self.share is not msgspec.UNSET:
            share = self.share or _Share()
            after = replace(after, users=_levels(share.users), shared_groups=_levels(share.groups))
        return after


def parse_ownership_request(body: bytes) -> OwnershipRequest:
    """Check the body of a request.

    Raises:
        InvalidRequest: it is malformed; the message names the field.
    """
    try:
        return msgspec.json.decode(body, type=OwnershipRequest)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"The body of the request is malformed: {error}. "
            'Expected: {"share": {"users": {"NAME": "read"}, "groups": {"NAME": "full"}}}, '
            'or {"share": null}.'
        ) from error


def share_model(ownership: Ownership) -> Mapping[str, Mapping[str, str]]:
    """Return with whom a kernel is shared, in the form of a request."""
    return {"users": _words(ownership.users), "groups": _words(ownership.shared_groups)}


def _levels(words: Mapping[str, str]) -> Mapping[str, Access]:
    return {name: SHARED_ACCESS[word] for name, word in words.items()}


def _words(levels: Mapping[str, Access]) -> Mapping[str, str]:
    return {name: level.name.lower() for name, level in levels.items()}
