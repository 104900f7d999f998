"""The check whether a user may start kernels of a kernelspec."""

from __future__ import annotations

from collections.abc import Sequence

from gateway_provisioners.errors import PolicyViolation
from gateway_provisioners.model.quoting import quoted


def check_user(
    username: str, *, kernel_name: str, authorized: Sequence[str], unauthorized: Sequence[str]
) -> None:
    """Refuse a user who may not start the kernel.

    Args:
        authorized: the only users who may; empty: all.
        unauthorized: users who may not, authorized or not.

    Raises:
        PolicyViolation: names the rule.
    """
    if username in unauthorized:
        rule = "this user is listed as unauthorized (unauthorized_users)"
    elif authorized and username not in authorized:
        rule = "only listed users may (authorized_users)"
    else:
        return
    msg = f"User {quoted(username)} may not start kernel {kernel_name!r}: {rule}."
    raise PolicyViolation(msg)
