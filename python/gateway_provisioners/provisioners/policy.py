"""Who may start a kernel."""

from __future__ import annotations

from collections.abc import Sequence

from gateway_provisioners.errors import PolicyViolation


def check_user(
    username: str, *, kernel_name: str, authorized: Sequence[str], unauthorized: Sequence[str]
) -> None:
    """Let `username` pass, or say which rule forbids it.

    Raises:
        PolicyViolation: the user is listed as unauthorized, or not listed as authorized.
    """
    if username in unauthorized:
        rule = "this user is listed as unauthorized (unauthorized_users)"
    elif authorized and username not in authorized:
        rule = "only listed users may (authorized_users)"
    else:
        return
    msg = f"User {username!r} may not start kernel {kernel_name!r}: {rule}."
    raise PolicyViolation(msg)
