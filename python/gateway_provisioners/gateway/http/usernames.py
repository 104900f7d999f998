"""The user of a kernel: the identity of the client that starts it, whatever the client calls itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from traitlets.config import LoggingConfigurable

from gateway_provisioners.errors import PolicyViolation
from gateway_provisioners.gateway.identity.identity import Identity
from gateway_provisioners.model.quoting import quoted
from gateway_provisioners.settings import from_env

USERNAME = "KERNEL_USERNAME"
# Of how many users it is remembered that they were logged.
_MOST_LOGGED = 1000

_log = logging.getLogger(__name__)


class Usernames(LoggingConfigurable):
    """Sets `KERNEL_USERNAME` for kernels of clients that are a particular user."""

    strict = from_env(
        "GP_STRICT_USERNAME",
        False,
        "Refuse a KERNEL_USERNAME that is not the name of the client's identity, rather than replace it.",
    )

    _logged: set[str]

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._logged = set()

    def environment_of(self, identity: Identity, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a kernel that a client starts.

        A client without a name of its own, such as a holder of the shared token, chooses the user.

        Raises:
            PolicyViolation: the client calls itself by another name, and that is not allowed.
        """
        wanted = environment.get(USERNAME, "")
        if not identity.name:
            return dict(environment)
        if wanted not in ("", identity.name):
            if self.strict:
                raise PolicyViolation(
                    f"{USERNAME}={quoted(wanted)} is not your name here, which is {quoted(identity.name)}. "
                    f"Leave {USERNAME} out."
                )
            self._log_once(identity.name)
        return {**environment, USERNAME: identity.name}

    def _log_once(self, name: str) -> None:
        if name not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add(name)
            _log.info("A client of user %s asks for another %s, which is replaced.", name, USERNAME)
