#!/usr/bin/env python3
"""Print a token of an OpenID Connect issuer, as a client of the gateway shows it.

The first time, and whenever the issuer wants it, you log in with your browser: the authorization code flow
with PKCE. Afterwards a refresh token does, kept in a file that only you can read. Python is all it needs.

    python3 gateway_token.py --issuer https://sso.example.com/realms/acme --client-id gateway
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import hashlib
import http.server
import json
import os
import secrets
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
import webbrowser
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 30
LOGIN_SECONDS = 300
LARGEST_ANSWER = 1024 * 1024


class Refused(Exception):
    """The issuer gives no token; the message says why."""


class Issuer:
    """An issuer, by its discovery document, and this program as a client of it."""

    def __init__(self, url: str, client_id: str, scope: str) -> None:
        self._client_id = client_id
        self._scope = scope
        self._endpoints = answer(url.rstrip("/") + "/.well-known/openid-configuration")
        if self._endpoints.get("issuer") != url:
            msg = f"{url} calls itself {self._endpoints.get('issuer')}: use that address."
            raise Refused(msg)

    def refresh(self, refresh_token: str) -> dict[str, Any]:
        """Return new tokens for a refresh token."""
        return self._tokens(grant_type="refresh_token", refresh_token=refresh_token)

    def log_in(self, port: int) -> dict[str, Any]:
        """Return the tokens of the user who logs in with the browser."""
        verifier = secrets.token_urlsafe(64)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        state = secrets.token_urlsafe(32)
        with Callback(port, state) as callback:
            query = urllib.parse.urlencode(
                {
                    "response_type": "code",
                    "client_id": self._client_id,
                    "redirect_uri": callback.url,
                    "scope": self._scope,
                    "state": state,
                    "code_challenge": challenge.rstrip(b"=").decode(),
                    "code_challenge_method": "S256",
                }
            )
            url = f"{self._endpoints['authorization_endpoint']}?{query}"
            print(f"Log in at {url}", file=sys.stderr)
            # In a thread: some browsers return only when they are closed.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
            code = callback.wait()
            return self._tokens(
                grant_type="authorization_code",
                code=code,
                redirect_uri=callback.url,
                code_verifier=verifier,
            )

    def _tokens(self, **parameters: str) -> dict[str, Any]:
        form = urllib.parse.urlencode({"client_id": self._client_id, **parameters})
        return answer(self._endpoints["token_endpoint"], form.encode())


class Callback(http.server.HTTPServer):
    """Waits on loopback for the browser, which the issuer sends back with a code."""

    timeout = LOGIN_SECONDS

    def __init__(self, port: int, state: str) -> None:
        super().__init__(("127.0.0.1", port), CallbackHandler)
        self.url = f"http://127.0.0.1:{self.server_port}/callback"
        self.state = state
        self.code = ""
        self.refusal = ""

    def wait(self) -> str:
        """Return the code of the user who has logged in."""
        while not (self.code or self.refusal):
            self.handle_request()
        if self.refusal:
            raise Refused(self.refusal)
        return self.code

    def handle_timeout(self) -> None:
        self.refusal = f"No one has logged in for {LOGIN_SECONDS} seconds."


class CallbackHandler(http.server.BaseHTTPRequestHandler):
    """One request of the browser."""

    server: Callback
    timeout = TIMEOUT_SECONDS

    def do_GET(self) -> None:
        """Take the code, if it answers our own question."""
        url = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        ours = secrets.compare_digest(query.get("state", "").encode(), self.server.state.encode())
        if url.path != "/callback" or not ours:
            self.send_error(404)
            return
        self.server.code = query.get("code", "")
        if not self.server.code:
            self.server.refusal = f"The issuer refused: {query.get('error', 'no code')}."
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"You can close this page.\n")

    def log_message(self, *_: object) -> None:
        """Log nothing: the request holds the code."""


def answer(url: str, form: bytes | None = None) -> dict[str, Any]:
    """Return the issuer's JSON."""
    parts = urllib.parse.urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}
    if parts.scheme != "https" and not is_local:
        raise Refused(f"{url} must begin with https://")
    try:
        with urllib.request.urlopen(url, form, timeout=TIMEOUT_SECONDS) as response:
            content = json.loads(response.read(LARGEST_ANSWER))
    except urllib.error.HTTPError as error:
        raise Refused(f"{url} answered {error.code}.") from error
    except (OSError, ValueError) as error:
        raise Refused(f"{url} cannot be used: {error}") from error
    if not isinstance(content, dict):
        raise Refused(f"{url} answered something else than a JSON object.")
    return content


def stored(file: Path) -> str:
    """Return the refresh token of an earlier login, or ""."""
    try:
        return file.read_text()
    except OSError:
        return ""


def store(file: Path, refresh_token: str) -> None:
    """Keep it for the next time, from its first byte where only this user can read it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(refresh_token)
    new.replace(file)


def token_of(issuer: Issuer, file: Path, kind: str, port: int) -> str:
    """Return a token by the refresh token, or else of a new login."""
    tokens: dict[str, Any] = {}
    if refresh_token := stored(file):
        try:
            tokens = issuer.refresh(refresh_token)
        except Refused as refused:
            print(f"{refused} A new login is needed.", file=sys.stderr)
    if kind not in tokens:
        tokens = issuer.log_in(port)
    if new := tokens.get("refresh_token"):
        store(file, new)
    if kind not in tokens:
        msg = f"The issuer gave no {kind}."
        raise Refused(msg)
    return tokens[kind]


def main() -> None:
    """Print the token."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--issuer", required=True, help="as in gateway.auth.methods")
    parser.add_argument("--client-id", required=True, help="a public client of the issuer")
    parser.add_argument("--scope", default="openid profile groups offline_access")
    parser.add_argument("--port", type=int, default=8400, help="of http://127.0.0.1:PORT/callback")
    parser.add_argument(
        "--token", choices=["id_token", "access_token"], default="id_token", help="which to print"
    )
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "gateway-token")
    options = parser.parse_args()

    name = hashlib.sha256(f"{options.issuer} {options.client_id}".encode()).hexdigest()[:16]
    try:
        issuer = Issuer(options.issuer, options.client_id, options.scope)
        options.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # An issuer may take a refresh token once only: two of these programs must not use it at a time.
        with (options.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            token = token_of(issuer, options.folder / name, options.token, options.port)
        print(token)
    except Refused as refused:
        sys.exit(f"gateway_token: {refused}")


if __name__ == "__main__":
    main()
