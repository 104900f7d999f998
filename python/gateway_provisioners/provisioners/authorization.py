"""The check whether a user may start kernels of a kernelspec."""

from __future__ import annotations

from collections.abc import Collection

from gateway_provisioners.errors import PolicyViolation
from gateway_provisioners.model.quoting import quoted


def check_user(
    username: str,
    groups: Collection[str] = (),
    *,
    kernel_name: str,
    authorized: Collection[str],
    unauthorized: Collection[str],
    authorized_groups: Collection[str] = (),
) -> None:
    """Refuse a user who may not start the kernel.

    Args:
        groups: the user's groups.
        authorized, authorized_groups: the only users who may, and the groups whose members may as well; both
            empty: all users.
        unauthorized: users who may not, authorized or not.

    Raises:
        PolicyViolation: names the rule.
    """
    if username in unauthorized:
        rule = "this user is listed as unauthorized (unauthorized_users)"
    elif authorized_groups and not (username in authorized or set(groups) & set(authorized_groups)):
        rule = "only listed users and members of listed groups may (authorized_users, authorized_groups)"
    elif authorized and not authorized_groups and username not in authorized:
        rule = "only listed users may (authorized_users)"
    else:
        return
    msg = f"User {quoted(username)} may not start kernel {kernel_name!r}: {rule}."
    raise PolicyViolation(msg)
