"""JupyterLab in front of a gateway, with tokens that expire: `jupyter lab --config=jupyter_server_config.py`.

JUPYTER_GATEWAY_URL is the gateway's address. GATEWAY_TOKEN_COMMAND is a command that prints a token.
"""

import base64
import binascii
import json
import os
import shlex
import subprocess
import time
from datetime import datetime

from jupyter_server.gateway.gateway_client import GatewayTokenRenewerBase
from traitlets import Float, Unicode

# For a token that does not say when it expires, in seconds.
UNKNOWN_LIFETIME = 300


class CommandTokenRenewer(GatewayTokenRenewerBase):
    """Gets the gateway's token from a command, and runs it again shortly before the token expires.

    jupyter_server asks for the token at each request to the gateway and for each kernel's websocket.
    """

    command = Unicode(help="Prints a token, or an ExecCredential.", config=True)
    margin = Float(60, help="Seconds before a token expires when the next is due.", config=True)
    timeout = Float(300, help="Seconds that the command may take, with a login.", config=True)
    pause = Float(10, help="Seconds after a failure until the command is run again.", config=True)

    _token = ""
    _due = 0.0

    def get_token(self, *_args, **_kwargs):
        """Return the token for the gateway."""
        if time.time() >= self._due:
            self._due = time.time() + self.pause  # unless a token comes
            self._token, expires_at = read_token(self._output())
            left = expires_at - time.time()
            self._due = time.time() + max(left - self.margin, left / 2)
        return self._token

    def _output(self):
        done = subprocess.run(
            shlex.split(self.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # what it reports on stderr is in the server's log
            timeout=self.timeout,
            check=False,
            text=True,
        )
        if done.returncode:
            msg = f"The token command ended with exit code {done.returncode}: run it in a terminal."
            raise RuntimeError(msg)
        return done.stdout.strip()


def read_token(output):
    """Return the token that a command has printed, and when it expires, in seconds since the epoch."""
    if output.startswith("{"):
        status = json.loads(output).get("status", {})
        expires = status.get("expirationTimestamp", "").replace("Z", "+00:00")
        token = status.get("token", "")
        expires_at = datetime.fromisoformat(expires).timestamp() if expires else expiry(token)
    else:
        token = output
        expires_at = expiry(token)
    if not token or len(token.split()) != 1:
        raise RuntimeError("The token command did not print a token: run it in a terminal.")
    return token, expires_at


def expiry(token):
    """Return when a JWT expires. The gateway checks it; here, it is only read."""
    try:
        claims = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(claims + "==="))["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return time.time() + UNKNOWN_LIFETIME


c = get_config()  # noqa: F821 - jupyter gives it to its configuration files
c.GatewayClient.auth_scheme = "Bearer"
c.GatewayClient.gateway_token_renewer_class = CommandTokenRenewer
c.CommandTokenRenewer.command = os.environ["GATEWAY_TOKEN_COMMAND"]
