"""The one conversion of errors for servers other than our gateway."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tornado import web

from gateway_provisioners.errors import GatewayProvisionersError
from gateway_provisioners.model.wording import in_short_lines


@contextlib.contextmanager
def as_http_errors() -> Iterator[None]:
    """Raise errors of this package as HTTPErrors with the same status and message.

    jupyter_server answers an HTTPError with its message, and any other error without. `errors` cannot
    derive from HTTPError: nothing below the provisioners knows of HTTP servers, and HTTPError's own
    `reason` is the status line's phrase. Our gateway answers with the error that is the cause.
    """
    try:
        yield
    except GatewayProvisionersError as error:
        raise web.HTTPError(error.http_status, in_short_lines(str(error))) from error
