"""The way to a gateway: all that a kernelspec says about it, which is never a secret itself."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gateway_provisioners_client.errors import ConfigurationError
from gateway_provisioners_client.gateway import checks, defaults
from gateway_provisioners_client.gateway.options import add_options
from gateway_provisioners_client.gateway.words import in_one_line

__all__ = ["GatewayConfig", "add_options"]


@dataclass(frozen=True)
class GatewayConfig:
    """The way to one gateway.

    Attributes:
        url: http(s)://host[:port][/base], without a slash at the end.
        name: for people, such as in a kernel's display name; by default the host.
        token_variable: the environment variable that holds the token. At most one of these three is set;
            without any, the token is in JUPYTER_GATEWAY_AUTH_TOKEN, if that is set.
        token_file: the file that holds the token; it is read at each request, so it may change.
        token_command: a program and its arguments; its output is the token.
        token_seconds: for how long the output of the command is used, if it does not expire earlier.
        auth_header: the header that the token goes into.
        auth_scheme: the word before the token in that header; "" for none.
        headers: further headers, none of which is secret.
        headers_variable: the environment variable that holds further headers, as JSON, which may be secret.
        ca_file: certificates of authorities, instead of those that this machine trusts.
        client_cert: the certificate to show to the gateway.
        client_key: its key, if that is another file.
        verify: False accepts any certificate of the gateway.
        request_timeout: seconds for each answer, except that of a start or restart.

    Raises:
        ConfigurationError: a value makes no sense.
    """

    url: str
    name: str = ""
    token_variable: str = ""
    token_file: str = ""
    token_command: tuple[str, ...] = ()
    token_seconds: float = defaults.TOKEN_SECONDS
    auth_header: str = defaults.AUTH_HEADER
    auth_scheme: str = defaults.AUTH_SCHEME
    headers: Mapping[str, str] = field(default_factory=dict)
    headers_variable: str = ""
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    verify: bool = True
    request_timeout: float = defaults.REQUEST_TIMEOUT

    def __post_init__(self) -> None:
        host = checks.host_of(self.url)
        object.__setattr__(self, "url", self.url.rstrip("/"))
        object.__setattr__(self, "name", in_one_line(self.name, 64) or host)
        if sum(map(bool, (self.token_variable, self.token_file, self.token_command))) > 1:
            raise ConfigurationError(
                "More than one place for the token is named; use one of: a variable, a file, a command."
            )
        for variable in filter(None, (self.token_variable, self.headers_variable)):
            if not checks.VARIABLE.fullmatch(variable):
                # It is not repeated: it may well be the token.
                raise ConfigurationError(
                    "The name of an environment variable has letters, digits and _ only; "
                    "give the name of the variable, and not what it holds."
                )
        checks.check_headers({self.auth_header: self.auth_scheme, **self.headers})
        if self.client_key and not self.client_cert:
            raise ConfigurationError("A client key needs its client certificate as well.")
        for seconds in (self.request_timeout, self.token_seconds):
            if not 0 < seconds <= 86_400:
                raise ConfigurationError(
                    "Seconds of a time-out must be more than 0, at most 86400."
                )

    @property
    def host(self) -> str:
        """The host, with the port if the URL has one: to name the gateway in a message."""
        return urlsplit(self.url).netloc

    @property
    def is_secure(self) -> bool:
        """True if the token is unreadable on its way: TLS, or it stays on this machine."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        return parts.scheme == "https" or host == "localhost" or checks.is_loopback(host)

    def secret_headers(self) -> list[str]:
        """Return the names of headers whose values look secret, so that they must not be arguments."""
        return [name for name in self.headers if checks.is_secret_header(name, self.auth_header)]

    @classmethod
    def from_jupyter_environment(cls, environ: Mapping[str, str] | None = None) -> GatewayConfig:
        """Return the gateway that the JUPYTER_GATEWAY_* variables name, as jupyter_server reads them.

        Raises:
            ConfigurationError: JUPYTER_GATEWAY_URL is not set, or a value makes no sense.
        """
        environ = os.environ if environ is None else environ
        url = environ.get("JUPYTER_GATEWAY_URL", "")
        if not url:
            raise ConfigurationError("No gateway is named: set JUPYTER_GATEWAY_URL to its URL.")
        get = environ.get
        return cls(
            url,
            token_variable=defaults.TOKEN_VARIABLE if get(defaults.TOKEN_VARIABLE) else "",
            auth_header=get("JUPYTER_GATEWAY_AUTH_HEADER_KEY", "") or defaults.AUTH_HEADER,
            auth_scheme=get("JUPYTER_GATEWAY_AUTH_SCHEME", defaults.AUTH_SCHEME),
            headers_variable=defaults.HEADERS_VARIABLE if get(defaults.HEADERS_VARIABLE) else "",
            ca_file=get("JUPYTER_GATEWAY_CA_CERTS", ""),
            client_cert=get("JUPYTER_GATEWAY_CLIENT_CERT", ""),
            client_key=get("JUPYTER_GATEWAY_CLIENT_KEY", ""),
            # As jupyter_server reads it.
            verify=get("JUPYTER_GATEWAY_VALIDATE_CERT", "True") not in {"no", "false"},
            request_timeout=checks.seconds_of(
                "JUPYTER_GATEWAY_REQUEST_TIMEOUT",
                get("JUPYTER_GATEWAY_REQUEST_TIMEOUT", "") or str(defaults.REQUEST_TIMEOUT),
            ),
        )

    def check_public(self) -> None:
        """Check that no secret would become an argument, which every user of a machine can read.

        Raises:
            ConfigurationError: a header looks like a credential. Its value is not repeated.
        """
        if secret := self.secret_headers():
            raise ConfigurationError(
                f"The header {secret[0]} usually holds a credential, which every user of this machine could "
                "read in the arguments of a program. Put it into an environment variable as JSON, and name "
                "that with --headers-variable."
            )

    def to_options(self) -> list[str]:
        """Return the options that `from_options` makes the same configuration of.

        Raises:
            ConfigurationError: it holds a secret.
        """
        self.check_public()
        command = json.dumps(list(self.token_command)) if self.token_command else ""
        scheme = self.auth_scheme
        values = {
            "url": self.url,
            "name": self.name,
            "token-variable": self.token_variable,
            "token-file": self.token_file,
            "token-command": command,
            "token-seconds": _unless(self.token_seconds, defaults.TOKEN_SECONDS),
            "auth-header": _unless(self.auth_header, defaults.AUTH_HEADER),
            "headers-variable": self.headers_variable,
            "ca-file": self.ca_file,
            "client-cert": self.client_cert,
            "client-key": self.client_key,
            "request-timeout": _unless(self.request_timeout, defaults.REQUEST_TIMEOUT),
        }
        # One argument each: a value may begin with a dash.
        options = [f"--{name}={value}" for name, value in values.items() if value]
        if scheme != defaults.AUTH_SCHEME:
            options.append(f"--auth-scheme={scheme}")
        options += [f"--header={name}:{value}" for name, value in self.headers.items()]
        return options if self.verify else [*options, "--no-verify"]

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> GatewayConfig:
        """Return the configuration that options name.

        Raises:
            ConfigurationError: an option makes no sense.
        """
        headers = dict(checks.header_of(text) for text in options.headers)
        auth_header = options.auth_header or defaults.AUTH_HEADER
        config = cls(
            options.url or "",
            name=options.gateway_name,
            token_variable=options.token_variable,
            token_file=checks.absolute(options.token_file),
            token_command=checks.command_of(options.token_command),
            token_seconds=checks.seconds_of(
                "--token-seconds", options.token_seconds or str(defaults.TOKEN_SECONDS)
            ),
            auth_header=auth_header,
            auth_scheme=defaults.AUTH_SCHEME
            if options.auth_scheme is None
            else options.auth_scheme,
            headers=headers,
            headers_variable=options.headers_variable,
            ca_file=checks.absolute(options.ca_file),
            client_cert=checks.absolute(options.client_cert),
            client_key=checks.absolute(options.client_key),
            verify=options.verify,
            request_timeout=checks.seconds_of(
                "--request-timeout", options.request_timeout or str(defaults.REQUEST_TIMEOUT)
            ),
        )
        config.check_public()
        return config


def _unless(value: object, default: object) -> str:
    return "" if value == default else str(value)
