"""The number of kernels of one user that start at the same time."""

from __future__ import annotations

from collections.abc import Iterable

from traitlets.config import LoggingConfigurable

from gateway_provisioners.errors import GatewayProvisionersError
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.settings import from_env


class TooManyStarts(GatewayProvisionersError):
    """As many kernels of the user are being started as may be at the same time."""

    reason = "TooManyStarts"
    http_status = 429


class StartLimits(LoggingConfigurable):
    """The limits of starts on one gateway."""

    max_starts_per_user = from_env(
        "GP_MAX_STARTS_PER_USER",
        10,
        "How many kernels of one user a gateway starts at the same time; 0: no limit. Clients with the "
        "shared token have no limit, since they are not known to be one user.",
    )

    def check(self, new: Ownership, starting: Iterable[Ownership]) -> None:
        """Refuse a start while too many others of the same user are under way.

        Args:
            new: whose kernel is to be started.
            starting: whose kernels are being started.

        Raises:
            TooManyStarts: the user has to wait.
        """
        if not new.owner or not self.max_starts_per_user:
            return
        of_user = sum(each.owner == new.owner for each in starting)
        if of_user >= self.max_starts_per_user:
            raise TooManyStarts(
                f"{of_user} of your kernels are being started, as many as may be at the same time; wait "
                "until one of them has started."
            )
