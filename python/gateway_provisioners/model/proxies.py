"""The HTTP proxy of the environment for a URL, by the rules that kubectl follows.

They are those of Go's golang.org/x/net/http/httpproxy. Python's own reading of NO_PROXY knows no networks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.model.addresses import Address, read_address

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy through which `url` is requested, or None.

    Args:
        url: an http or https URL.
        environment: HTTP_PROXY, HTTPS_PROXY and NO_PROXY are read, or else the same in lower case.

    Raises:
        ConfigurationError: the proxy that the environment names cannot be used.
    """
    target = urlsplit(url)
    variable = f"{target.scheme.upper()}_PROXY"
    proxy = _variable(environment, variable)
    if target.scheme not in _PORTS or not proxy:
        return None
    port = target.port or _PORTS[target.scheme]
    if not _is_proxied(target.hostname or "", port, _variable(environment, "NO_PROXY")):
        return None
    return check_proxy(proxy, source=variable)


def check_proxy(proxy: str, *, source: str) -> str:
    """Return the URL of a proxy, with its scheme.

    Args:
        source: the setting that names the proxy, for the error. The URL itself may hold a password.

    Raises:
        ConfigurationError: it is malformed, or of a kind that the HTTP client does not have.
    """
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigurationError(
            f"The proxy that {source} names cannot be used: it must be of the form http://HOST:PORT."
        )
    return url


def _variable(environment: Mapping[str, str], name: str) -> str:
    return (environment.get(name) or environment.get(name.lower()) or "").strip()


@dataclass(frozen=True)
class _Target:
    """The server that is asked; `address` is None if the host is a name."""

    host: str
    port: int
    address: Address | None


def _is_proxied(host: str, port: int, exceptions: str) -> bool:
    """Return whether a request goes through a proxy; `exceptions` is the value of NO_PROXY."""
    target = _Target(_ascii(host.lower()), port, _address(host))
    if target.host == "localhost" or (target.address is not None and target.address.is_loopback):
        return False
    entries = [entry.strip().lower() for entry in exceptions.split(",")]
    return not any(_matches(entry, target) for entry in entries if entry)


def _matches(entry: str, target: _Target) -> bool:
    if entry == "*":
        return True
    network = _network(entry)
    if network is not None:
        return target.address is not None and target.address in network
    host, port = _split(entry)
    if not host or port not in ("", str(target.port)):
        return False
    address = _address(host)
    if address is not None:
        return address == target.address
    host = host[1:] if host.startswith("*.") else host
    suffix = _ascii(host.removeprefix("."))
    is_below = target.host.endswith(f".{suffix}")
    # A leading dot, or `*.`, leaves the domain itself out.
    return is_below if host.startswith(".") else is_below or target.host == suffix


def _split(entry: str) -> tuple[str, str]:
    """Return the host and the port of an entry; the port is "" if it has none."""
    host, colon, port = entry.rpartition(":")
    if colon and ":" not in host.strip("[]") and (not host.startswith("[") or host.endswith("]")):
        return host, port
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], port
    return entry.strip("[]"), ""


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if "/" not in entry:
        return None
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _address(host: str) -> Address | None:
    try:
        return read_address(host)
    except ValueError:
        return None


def _ascii(host: str) -> str:
    """Return a name as DNS knows it."""
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return host
