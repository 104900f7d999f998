"""The local end of requests that the kernel will not answer."""

from __future__ import annotations

from collections.abc import Iterator

from gateway_provisioners_client.session import words
from gateway_provisioners_client.session.requests import Request

LOST = (
    "The connection to the gateway was lost. It is not known whether this ran: check what it would have "
    "changed before you run it again.\n"
)
RESTARTED = "The kernel was restarted before this ended; its variables are gone.\n"
OTHER_ATTEMPT = (
    "The kernel was restarted while the connection to the gateway was lost; its variables are gone. It is "
    "not known whether this ran.\n"
)
GONE = (
    "The kernel does not exist any longer on the gateway: it was shut down, or was not used for too long. "
    "Restart the kernel to get a new one.\n"
)


def of(request: Request, text: str) -> Iterator[tuple[str, words.Parts]]:
    """Give the channel and the parts of each message that ends a request.

    Args:
        request: of the client.
        text: the reason, for the user.
    """
    if request.channel == "stdin" or not request.msg_id:
        return
    if request.reply and not request.replied:
        if request.msg_type == "execute_request":
            yield "iopub", words.stream(request.header, text)
        content = words.error("ConnectionLost", text.strip())
        yield request.channel, words.message(request.reply, request.header, content)
    if not request.idle:
        yield "iopub", words.status(request.header, "idle")


def failed(request: Request, name: str, text: str) -> Iterator[tuple[str, words.Parts]]:
    """Give the channel and the parts of each message of a request that cannot be run.

    Args:
        request: that the kernel has not been given.
        name: of the error, as a cell shows it.
        text: the reason in full, for the user.
    """
    if request.channel == "stdin" or not request.msg_id:
        return
    yield "iopub", words.status(request.header, "busy")
    if request.reply:
        content = words.error(name, text)
        if request.msg_type == "execute_request":
            shown = {key: content[key] for key in ("ename", "evalue", "traceback")}
            yield "iopub", words.message("error", request.header, shown)
        yield request.channel, words.message(request.reply, request.header, content)
    yield "iopub", words.status(request.header, "idle")
