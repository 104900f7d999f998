"""The access log: one line per request, without its query, which may hold the token."""

from __future__ import annotations

import logging

from tornado.web import RequestHandler

_log = logging.getLogger(__name__)

_LONGEST_PATH = 200


def request_summary(handler: RequestHandler) -> str:
    """Return method, path and client of a request."""
    request = handler.request
    path = (
        request.path if len(request.path) <= _LONGEST_PATH else f"{request.path[:_LONGEST_PATH]}..."
    )
    return f"{request.method} {path} ({request.remote_ip})"


def log_request(handler: RequestHandler) -> None:
    """Log a finished request; the `log_function` of the tornado application.

    Successful reads are logged at debug level: probes and polling clients would drown the rest.
    """
    status = handler.get_status()
    if status >= 500:
        level = logging.ERROR
    elif status >= 400:
        level = logging.WARNING
    elif handler.request.method in ("GET", "HEAD", "OPTIONS"):
        level = logging.DEBUG
    else:
        level = logging.INFO
    milliseconds = 1000 * handler.request.request_time()
    _log.log(level, "%d %s %.1f ms", status, request_summary(handler), milliseconds)
    handler.settings["metrics"].request_finished(handler)
