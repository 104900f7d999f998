"""`helm test`: start the default kernel through the gateway's Service, run code in it, shut it down.

Reads variables that a Jupyter server would, JUPYTER_GATEWAY_URL, JUPYTER_GATEWAY_AUTH_HEADER_KEY and
JUPYTER_GATEWAY_AUTH_TOKEN, which may be several tokens, one in a line; and KERNEL_* for the kernel.
GATEWAY_CERTIFICATE is a PEM file that begins with the gateway's certificate; without it, the certificate must
be one that this machine trusts for the URL's host. CLIENT_CERTIFICATE is a folder with the client certificate
`tls.crt` and its `tls.key`, for a gateway that requires one. NETWORK_POLICIES is `wanted` or `required` where
NetworkPolicies should keep this process from the port to which kernels report.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from gateway_provisioners.aio import within
from gateway_provisioners.cli.finding import Finding, Level
from gateway_provisioners.cli.snippets import SNIPPETS

# Longer than a gateway waits for a launch: its own error message says more than a timeout here would.
TIMEOUT_SECONDS = 600
# What a NetworkPolicy does not let through is dropped without an answer.
_CONNECT_SECONDS = 5
_END_OF_CERTIFICATE = "-----END CERTIFICATE-----\n"


class CheckFailed(Exception):
    """The gateway or its kernel does not work; the message says what failed."""


class GatewayClient:
    """The parts of a gateway's client that the check needs: HTTP API and websockets."""

    def __init__(
        self,
        url: str,
        token: str,
        certificate: Path | None = None,
        client_certificate: Path | None = None,
        *,
        header: str = "Authorization",
    ) -> None:
        self._url = url.rstrip("/")
        context = None if certificate is None else _trusting_only(certificate)
        if context and client_certificate:
            context.load_cert_chain(client_certificate / "tls.crt", client_certificate / "tls.key")
        self._options: dict[str, Any] = {
            "headers": {header: f"token {token}"},
            "ssl_options": context,
            "connect_timeout": 20,
            "request_timeout": TIMEOUT_SECONDS,
        }

    async def request(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON of the response; raise CheckFailed with the reason if it is an error."""
        text = None if body is None else json.dumps(body)
        request = HTTPRequest(f"{self._url}{path}", method=method, body=text, **self._options)
        try:
            response = await AsyncHTTPClient().fetch(request)
        except HTTPError as error:
            raise CheckFailed(f"{method} {path}: {error.code} {_reason(error)}") from error
        except ssl.SSLCertVerificationError as error:
            msg = (
                f"{self._url} does not get the token: its certificate cannot be verified: "
                f"{error.verify_message}. If it has just been renewed, try again in a few minutes"
            )
            raise CheckFailed(msg) from error
        except OSError as error:
            raise CheckFailed(f"{self._url} cannot be reached: {error}") from error
        return json.loads(response.body or "null")

    async def channels(self, kernel_id: str) -> WebSocketClientConnection:
        """Return the open websocket of a kernel."""
        path = f"/api/kernels/{kernel_id}/channels?session_id={uuid.uuid4().hex}"
        url = f"ws{self._url.removeprefix('http')}{path}"
        opening = asyncio.ensure_future(websocket_connect(HTTPRequest(url, **self._options)))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_if_open)
            raise
        except (HTTPError, OSError) as error:
            msg = (
                f"the kernel runs, but its websocket cannot be opened: {error}."
                " Proxies in front of the gateway must forward websockets"
            )
            raise CheckFailed(msg) from error


def _close_if_open(opening: asyncio.Future[WebSocketClientConnection]) -> None:
    """Close a websocket that has opened when it was no longer wanted."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _first_token(tokens: str) -> str:
    """Return the first of the gateway's tokens, which are one in a line, without its expiry."""
    line = next(iter(tokens.strip().splitlines()), "")
    return re.sub(r"\s+\d{4}-\d{2}-\d{2}\S*$", "", line)


def _trusting_only(certificate: Path) -> ssl.SSLContext:
    """Return a context for servers with the first certificate of a file, whatever names it has."""
    first, end, _chain = certificate.read_text().partition(_END_OF_CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # its issuer need not be known
    context.load_verify_locations(cadata=first + end)
    return context


def _reason(error: HTTPError) -> str:
    if error.response is not None:
        try:
            return str(json.loads(error.response.body)["message"])
        except (ValueError, KeyError, TypeError):
            pass
    return error.message


async def execute(channels: WebSocketClientConnection, code: str) -> str:
    """Run code and return its output and the value of its last expression."""
    request = uuid.uuid4().hex
    header = {
        "msg_id": request,
        "msg_type": "execute_request",
        "username": "",
        "session": request,
        "version": "5.3",
    }
    content: dict[str, Any] = {"code": code, "silent": False, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    await channels.write_message(json.dumps({"channel": "shell", "buffers": [], **message}))
    output = ""
    while True:
        received = await channels.read_message()
        if received is None:
            raise CheckFailed("the kernel's websocket was closed before it replied")
        answer = json.loads(received)
        if answer["parent_header"].get("msg_id") != request:
            continue
        content = answer["content"]
        output += str(content.get("text") or content.get("data", {}).get("text/plain", ""))
        if content.get("execution_state") == "idle":
            return output
        if answer["msg_type"] == "error":
            raise CheckFailed(f"{code!r} failed: {content['ename']}: {content['evalue']}")


async def check(environment: Mapping[str, str], *, timeout: float = TIMEOUT_SECONDS) -> None:
    """Print a line for each step that works.

    Args:
        environment: the variables that the module's docstring names.
        timeout: how many seconds a running kernel may take to answer.

    Raises:
        CheckFailed: a step does not work.
    """
    url = environment["JUPYTER_GATEWAY_URL"]
    certificates = (
        Path(path) if (path := environment.get(name)) else None
        for name in ("GATEWAY_CERTIFICATE", "CLIENT_CERTIFICATE")
    )
    token = _first_token(environment["JUPYTER_GATEWAY_AUTH_TOKEN"])
    header = environment.get("JUPYTER_GATEWAY_AUTH_HEADER_KEY") or "Authorization"
    gateway = GatewayClient(url, token, *certificates, header=header)
    listed = await gateway.request("GET", "/api/kernelspecs")
    names = ", ".join(sorted(listed["kernelspecs"]))
    if not names:
        raise CheckFailed("no kernel is enabled; set kernels.NAME.enabled, or kernels.NAME.image")
    say("gateway", f"{url} accepts the token and lists {names}")
    name = listed["default"]
    language = listed["kernelspecs"][name]["spec"]["language"].lower()
    variables = {key: value for key, value in environment.items() if key.startswith("KERNEL_")}
    kernel = await gateway.request("POST", "/api/kernels", {"name": name, "env": variables})
    try:
        say(name, "a pod runs it")
        code = SNIPPETS[language].sum if language in SNIPPETS else ""
        output = await within(timeout, _answer(gateway, kernel["id"], code))
        if code and "2" not in output:
            raise CheckFailed(f"{code!r} gave {output!r} instead of 2")
        if code:
            say(name, f"{code} gives {output.strip()}")
    except asyncio.TimeoutError:
        raise CheckFailed(f"the kernel runs, but did not answer within {timeout:g} s") from None
    finally:
        await gateway.request("DELETE", f"/api/kernels/{kernel['id']}")
    say(name, "its pod is removed")
    if policies := environment.get("NETWORK_POLICIES"):
        await _check_policies(gateway, is_required=policies == "required")


async def _check_policies(gateway: GatewayClient, *, is_required: bool) -> None:
    """Try to connect where only kernels may.

    Raises:
        CheckFailed: that works, although the policies are required.
    """
    readiness = await gateway.request("GET", "/readyz")
    address = readiness["checks"]["response server"]["detail"]
    if not await _is_open(address):
        say("network", f"NetworkPolicies are enforced: only kernels can connect to {address}")
        return
    problem = (
        f"NetworkPolicies are not enforced in this cluster: this pod can connect to {address}, where only "
        "kernels may, and every pod can connect to kernels. Use a network plugin that enforces them"
    )
    if is_required:
        raise CheckFailed(f"{problem}, or set networkPolicy.required to false")
    say("network", problem, Level.WARNING)


async def _is_open(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _reader, writer = await within(
            _CONNECT_SECONDS, asyncio.open_connection(host.strip("[]"), int(port))
        )
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    return True


async def _answer(gateway: GatewayClient, kernel_id: str, code: str) -> str:
    """Return the output of code, or only open the websocket if the code is empty."""
    channels = await gateway.channels(kernel_id)
    try:
        return await execute(channels, code) if code else ""
    finally:
        channels.close()


def say(about: str, text: str, level: Level = Level.OK) -> None:
    """Print a finding at once."""
    sys.stdout.write(f"{Finding(level, about, text)}\n")
    sys.stdout.flush()


def main() -> int:
    """Check the gateway that the environment names."""
    try:
        asyncio.run(check(os.environ))
    except CheckFailed as failure:
        say("gateway", str(failure), Level.PROBLEM)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
