"""TLS of the gateway's HTTP port, with a certificate that can be renewed at runtime."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from gateway_provisioners.errors import ConfigurationError

_log = logging.getLogger(__name__)


def server_context(
    certfile: str, keyfile: str | None, client_ca: str | None = None
) -> ssl.SSLContext:
    """Return a context for TLS 1.2 or later that reads these files again when they change.

    Args:
        keyfile: None if the key is in `certfile`.
        client_ca: if given, clients must show a certificate that it signed.

    Raises:
        ConfigurationError: the files cannot be used.
    """
    files = _Files(certfile, keyfile, client_ca)
    try:
        files.read()
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(name for name in (certfile, keyfile, client_ca) if name)
        msg = f"The files for TLS ({names}) cannot be used: {error}"
        raise ConfigurationError(msg) from error

    def on_handshake(
        connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        connection.context = files.newest()

    # Each connection begins with this context and switches to the newest one.
    context = files.newest()
    context.sni_callback = on_handshake
    return context


class _Files:
    """A certificate, its key, and the CA of clients' certificates. Renewal replaces the files."""

    def __init__(self, certfile: str, keyfile: str | None, client_ca: str | None) -> None:
        self._certfile = certfile
        self._keyfile = keyfile
        self._client_ca = client_ca
        self._context: ssl.SSLContext | None = None
        self._read_at: tuple[tuple[int, int], ...] = ()

    def read(self) -> None:
        """Load the files."""
        self._read_at = self._versions()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certfile, self._keyfile)
        if self._client_ca:
            context.load_verify_locations(cafile=self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        self._context = context

    def newest(self) -> ssl.SSLContext:
        """Return the context of the files as they are now; the previous one if they cannot be used."""
        try:
            if self._versions() != self._read_at:
                self.read()
                _log.info("The certificate in %s was renewed.", self._certfile)
        except (OSError, ssl.SSLError) as error:
            _log.error(
                "%s cannot be used; keeping the previous certificate: %s", self._certfile, error
            )
        assert self._context is not None  # noqa: S101 - read before the first handshake
        return self._context

    def _versions(self) -> tuple[tuple[int, int], ...]:
        names = (self._certfile, self._keyfile, self._client_ca)
        found = (Path(name).stat() for name in names if name)
        return tuple((each.st_mtime_ns, each.st_ino) for each in found)
