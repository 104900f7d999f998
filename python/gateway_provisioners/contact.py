"""The contact of this gateway: whom users ask for what only an administrator can change."""

from __future__ import annotations

from traitlets.config import LoggingConfigurable

from gateway_provisioners.errors import GatewayProvisionersError
from gateway_provisioners.settings import from_env

_LONGEST = 200
# Of errors that only an administrator can mend or allow.
_STATUSES = frozenset({403, 500})


def _contact(text: str) -> str:
    if len(text) > _LONGEST or not text.isprintable():
        raise ValueError(f"must be one line of printable text, of at most {_LONGEST} characters.")
    return text


class Contact(LoggingConfigurable):
    """The people who run the gateway, as messages name them."""

    contact = from_env(
        "GP_CONTACT",
        "",
        "Whom users can ask, such as an e-mail address or a URL: part of the messages about what only an "
        f"administrator can change. One line of at most {_LONGEST} characters.",
        parse=_contact,
    )

    @property
    def administrator(self) -> str:
        """Whom to ask: the end of a sentence such as "Ask ..."."""
        return "the administrator of this gateway" + (f" ({self.contact})" if self.contact else "")

    def added_to(self, message: str, error: GatewayProvisionersError | None) -> str:
        """Return the message about an error, with the contact if users need an administrator."""
        if not self.contact or error is None or error.http_status not in _STATUSES:
            return message
        return f"{message}\nContact: {self.contact}"
