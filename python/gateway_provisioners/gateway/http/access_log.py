"""The access log: one line per request, without its query, which may hold the token."""

from __future__ import annotations

import logging

from tornado.web import RequestHandler

_log = logging.getLogger(__name__)

_LONGEST = 200  # of a method or a path; the log escapes their control characters


def request_summary(handler: RequestHandler) -> str:
    """Return method, path and client of a request."""
    request = handler.request
    return f"{_cut(request.method or '')} {_cut(request.path)} ({request.remote_ip})"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


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
