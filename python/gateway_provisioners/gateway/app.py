"""The gateway process: `jupyter-gateway`."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import ssl
import sys
from typing import Any, ClassVar

from kernel_gateway.gatewayapp import KernelGatewayApp
from tornado.log import enable_pretty_logging
from traitlets import Int, TraitError, default, validate

from gateway_provisioners._version import __version__
from gateway_provisioners.contact import Contact
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.backends.base import Backend
from gateway_provisioners.gateway.backends.choose import choose_backend
from gateway_provisioners.gateway.failures import known_cause
from gateway_provisioners.gateway.http import origins
from gateway_provisioners.gateway.http.access_log import log_request
from gateway_provisioners.gateway.http.auth import RequestIdentityProvider
from gateway_provisioners.gateway.http.crowd import Network, parse_networks
from gateway_provisioners.gateway.http.door import Server
from gateway_provisioners.gateway.http.handlers import RefusalHandler
from gateway_provisioners.gateway.http.personality import GatewayPersonality
from gateway_provisioners.gateway.http.ports import listen
from gateway_provisioners.gateway.http.probes import probe_server
from gateway_provisioners.gateway.http.progress_streams import ProgressStreams
from gateway_provisioners.gateway.http.usernames import Usernames
from gateway_provisioners.gateway.identity.authenticator import Authenticator
from gateway_provisioners.gateway.identity.config import build_methods
from gateway_provisioners.gateway.identity.credential import AUTHORIZATION
from gateway_provisioners.gateway.identity.groups import UserGroups
from gateway_provisioners.gateway.kernels.addresses import KernelAddresses
from gateway_provisioners.gateway.kernels.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.gateway.kernels.sessions import GatewaySessionManager
from gateway_provisioners.gateway.process import logs, tls
from gateway_provisioners.gateway.process.audit import Audit
from gateway_provisioners.gateway.process.audit_output import STDOUT
from gateway_provisioners.gateway.process.health import Check, HealthChecks
from gateway_provisioners.gateway.process.malloc import return_freed_memory
from gateway_provisioners.gateway.process.open_files import raise_open_files
from gateway_provisioners.gateway.process.secrecy import hide_memory
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from gateway_provisioners.model.addresses import in_url
from gateway_provisioners.settings import check_environment, from_env, one_of, whole_number

# How long clients may take to confirm the close of their websockets.
_CLOSE_SECONDS = 2.0
# Characters that need no escape in a URL; not the segments . and .., which clients resolve.
_BASE_URL = re.compile(r"/|(/[\w~-][\w.~-]*)+", re.ASCII)
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _log_level(text: str) -> int:
    if text.upper() not in _LOG_LEVELS:
        raise ValueError(one_of(_LOG_LEVELS))
    return int(getattr(logging, text.upper()))


def _base_url(text: str) -> str:
    path = "/" + text.strip("/")
    if not _BASE_URL.fullmatch(path):
        raise ValueError("must be a path such as /team-a or /tools/jupyter.")
    return path


class GatewayApp(KernelGatewayApp):
    """jupyter_kernel_gateway, for kernels that outlive it and clients that share it."""

    name = "jupyter-gateway"
    version = __version__
    description = "Starts Jupyter kernels for remote clients and connects the clients to them."
    classes: ClassVar[list[type]] = [
        GatewayPersonality,
        GatewayKernelManager,
        GatewayKernelSpecManager,
        GatewayWebsocketConnection,
    ]
    api_default_value = "gateway_provisioners.gateway.http.personality"

    ip = from_env(
        "KG_IP", "127.0.0.1", "The address to serve on; *: every address, of IPv4 and IPv6."
    )
    port = from_env("KG_PORT", 8888, "The port to serve on.")
    port_retries = from_env("KG_PORT_RETRIES", 50, "How many other ports to try when it is taken.")
    health_port = from_env(
        "KG_HEALTH_PORT",
        8889,
        "The port of /healthz, /readyz and /metrics, in plain HTTP and without a token; 0: any free port.",
    )
    base_url = from_env(
        "KG_BASE_URL",
        "/",
        "The path before all routes of clients, such as /team-a. The port of probes has none.",
        parse=_base_url,
    )
    trust_xheaders = from_env(
        "KG_TRUST_XHEADERS",
        False,
        "Take the client's address from a proxy's X-Real-Ip and X-Forwarded-For headers.",
    )
    trusted_proxies: list[str] = from_env(
        "GP_TRUSTED_PROXIES",
        [],
        "Networks of proxies, such as 10.0.0.0/8, whose X-Forwarded-For header names the client.",
    )
    ws_ping_interval = from_env(
        "KG_WS_PING_INTERVAL_SECS",
        30,
        "How often websockets are pinged, so that proxies keep them open; 0: never.",
        unit="seconds",
    )
    certfile = from_env(
        "KG_CERTFILE", "", "The certificate for HTTPS, with its chain, as a PEM file."
    )
    keyfile = from_env(
        "KG_KEYFILE",
        "",
        "The certificate's key, as a PEM file.",
        default_text="in the certificate's file",
    )
    client_ca = from_env(
        "KG_CLIENT_CA", "", "A CA, as a PEM file: clients must show a certificate that it signed."
    )
    auth_token = from_env(
        "KG_AUTH_TOKEN",
        "",
        "The token that clients must send. No child process inherits it.",
        secret=True,
    )
    auth_header = from_env(
        "GP_AUTH_HEADER",
        AUTHORIZATION,
        "The header in which clients send their token, where a proxy uses Authorization for its own.",
    )
    auth_methods = from_env(
        "GP_AUTH_METHODS",
        "",
        "The ways in which users show who they are, as a JSON object: see docs/identity.md.",
    )
    user_groups_file = from_env(
        "GP_USER_GROUPS_FILE",
        "",
        "A JSON file with the users of each group; the gateway reads it again when it changes.",
    )
    allow_unauthenticated = from_env(
        "GP_ALLOW_UNAUTHENTICATED",
        False,
        "Serve without a token: only where nothing but trusted clients can connect.",
    )
    audit = from_env(
        "GP_AUDIT",
        STDOUT,
        "Where to write the audit log: stdout, none, or the path of a file. It has a line of JSON for each "
        "start, use, restart and end of a kernel, and for each refusal. The gateway's own log is on stderr.",
    )
    sharing = from_env(
        "GP_SHARING", True, "Let users share their kernels with other users and with groups."
    )
    allow_kernels = from_env(
        "GP_ALLOW_KERNELS",
        False,
        "Let kernels connect to the gateway as its clients. Otherwise it closes connections from their pods "
        "and containers unread.",
    )
    allowed_origins: list[str] = from_env(
        "GP_ALLOWED_ORIGINS",
        [],
        "Web pages that may use this gateway from a browser, such as https://lab.example.com; *: all.",
    )
    client_envs: list[str] = from_env(
        "GP_CLIENT_ENVS", [], "Variables besides KERNEL_* that clients may set for their kernels."
    )
    engine = from_env(
        "GP_ENGINE",
        "kubernetes",
        "The engine, kubernetes or docker, whose kernels outlive the gateway. Needs GP_INSTANCE, and "
        "docker GP_STATE_DIR.",
        values=("kubernetes", "docker"),
    )
    max_kernels: int | None = from_env(
        "KG_MAX_KERNELS",
        None,
        "How many kernels this one gateway may run; 0: no limit. GP_MAX_KERNELS limits those of all "
        "gateways together.",
        parse=lambda text: whole_number(text) or None,
        default_text="0",
        kind=Int,
        allow_none=True,
    )
    default_kernel_name = from_env(
        "KG_DEFAULT_KERNEL_NAME",
        "",
        "The kernelspec for clients that name none.",
        default_text="python3",
    )
    force_kernel_name = from_env(
        "KG_FORCE_KERNEL_NAME", "", "The kernelspec for all clients, even those that name another."
    )
    shutdown_kernels_on_exit = from_env(
        "GP_SHUTDOWN_KERNELS_ON_EXIT",
        False,
        "Shut down all kernels when the gateway stops, not only those that no later gateway can find.",
    )
    drain_seconds = from_env(
        "GP_DRAIN_SECONDS",
        15.0,
        "When the gateway stops: how long the starts of kernels may still take, and how long to wait for "
        "a moment to close a websocket without loss.",
        unit="seconds",
    )
    log_level = from_env(
        "GP_LOG_LEVEL",
        logging.INFO,
        "DEBUG, INFO, WARNING, ERROR or CRITICAL.",
        values=(*_LOG_LEVELS, "WARN", *range(0, 51, 10)),
        parse=_log_level,
        default_text="INFO",
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.health = HealthChecks()
        self.kernel_addresses = KernelAddresses()
        self.serving = asyncio.Event()
        self._progress_streams = ProgressStreams()
        self._stopping = asyncio.Event()
        self._backend: Backend | None = None
        self._tls: ssl.SSLContext | None = None
        self.log.addFilter(_lacks_known_cause)

    @default("prespawn_count")
    def _prespawn_count_default(self) -> None:
        return None

    @default("raise_config_file_errors")
    def _raise_config_file_errors_default(self) -> bool:
        return True  # upstream would ignore a file that is broken, and run with other settings

    @default("cookie_secret")
    def _cookie_secret_default(self) -> bytes:
        return os.urandom(32)  # no cookie is ever read: upstream keeps the secret in a file

    @default("kernel_manager_class")
    def _kernel_manager_class_default(self) -> type:
        return GatewayKernelManager

    @default("kernel_spec_manager_class")
    def _kernel_spec_manager_class_default(self) -> type:
        return GatewayKernelSpecManager

    @default("kernel_websocket_connection_class")
    def _kernel_websocket_connection_class_default(self) -> type:
        return GatewayWebsocketConnection

    @default("identity_provider_class")
    def _identity_provider_class_default(self) -> type:
        return RequestIdentityProvider

    @default("api")
    def _api_default(self) -> str:
        return self.api_default_value

    @validate("api")
    def _validate_api(self, proposal: Any) -> str:
        if proposal.value != self.api_default_value:
            msg = f"api={proposal.value!r} is not supported; use {self.api_default_value!r}."
            raise TraitError(msg)
        return self.api_default_value

    @validate("base_url")
    def _validate_base_url(self, proposal: Any) -> str:
        try:
            return _base_url(proposal.value)
        except ValueError as error:
            raise TraitError(f"base_url={proposal.value!r} {error}") from None

    def initialize(self, argv: list[str] | None = None) -> None:
        """Read the command line and the configuration files; `serve` does the rest."""
        super(KernelGatewayApp, self).initialize(argv)

    @classmethod
    def launch_instance(cls, argv: list[str] | None = None, **kwargs: Any) -> None:
        """Run the command; it exits with one line if a setting makes no sense."""
        try:
            super().launch_instance(argv, **kwargs)
        except (ConfigurationError, TraitError) as error:
            sys.exit(f"{cls.name}: {error}")

    def start(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        super(KernelGatewayApp, self).start()
        self.prepare_process()
        asyncio.run(self._serve_until_signal())

    def prepare_process(self) -> None:
        """Set up what belongs to the whole process: its log and its memory."""
        hide_memory()
        return_freed_memory()
        enable_pretty_logging()  # before the handlers get their filters
        logs.set_up(logging.getLogger(), self.log)

    async def serve(self) -> None:
        """Serve until `request_stop`, then shut down the kernels that do not outlive the gateway.

        Raises:
            ConfigurationError, TraitError: a setting makes no sense; nothing is served.
        """
        check_environment()
        self.authenticator = self._new_authenticator()
        proxies = self._proxies()
        if self.certfile:
            self._tls = tls.server_context(
                self.certfile, self.keyfile or None, self.client_ca or None
            )
        files = raise_open_files()
        self.init_io_loop()
        self.init_configurables()
        try:
            await self._serve(proxies, files)
        finally:
            # A task that begins while the event loop is being closed is lost, with a warning.
            await self.personality.initialized.wait()

    async def _serve(self, proxies: tuple[Network, ...], open_files: int) -> None:
        self._add_checks()
        self._backend = choose_backend(self.engine, self)
        if self._backend is not None and not await self._attach(self._backend):
            return
        self._listen_for_probes()
        self.init_webapp()
        self._listen_for_clients(proxies)
        self.log.info(
            "%s %s serves http%s://%s:%d%s, and probes on port %d (%d open files allowed)",
            self.name,
            __version__,
            "s" if self._tls else "",
            in_url(self.ip),
            self.port,
            self.base_url,
            self.health_port,
            open_files,
        )
        self.serving.set()
        await self._stopping.wait()
        await self._drain()

    def request_stop(self) -> None:
        """Begin to stop; returns at once."""
        self.log.info("Asked to stop.")
        self._stopping.set()

    def init_configurables(self) -> None:
        super().init_configurables()
        metrics = self.kernel_manager.metrics
        self.kernel_manager.audit = Audit.to(self.audit, metrics.audit_lines_lost)
        self.authenticator.on_outcome = metrics.identified
        self.session_manager = GatewaySessionManager(self.kernel_manager, log=self.log)

    def init_webapp(self) -> None:
        super().init_webapp()
        self.web_app.settings.update(
            log_function=log_request,
            metrics=self.kernel_manager.metrics,
            draining=self._stopping,
            progress_streams=self._progress_streams,
            authenticator=self.authenticator,
            client_variables=frozenset(self.client_envs),
            forced_kernel_name=self.force_kernel_name,
            usernames=Usernames(parent=self),
            contact=Contact(parent=self),
            sharing=self.sharing,
            **origins.web_settings(self.allowed_origins, self.auth_header),
        )

    def _listen_for_clients(self, proxies: tuple[Network, ...]) -> None:
        self.http_server = Server(
            self.web_app,
            refusal=RefusalHandler,
            identify=self.authenticator.identify,
            kernels=self._closed_to(),
            proxies=proxies,
            max_buffer_bytes=self.kernel_manager.limits.messages.to_kernel,
            xheaders=self.trust_xheaders,
            ssl_options=self._tls,
        )
        try:
            self.port = listen(
                self.http_server,
                self.ip,
                self.port,
                "Set KG_PORT to a free port.",
                retries=self.port_retries,
            )
        except ConfigurationError:
            self._probes.stop()
            raise

    def _listen_for_probes(self) -> None:
        self._probes = probe_server(self.health, self.kernel_manager.metrics, self._closed_to())
        self.health_port = listen(
            self._probes, self.ip, self.health_port, "Set KG_HEALTH_PORT to a free port."
        )

    def _closed_to(self) -> KernelAddresses:
        return KernelAddresses() if self.allow_kernels else self.kernel_addresses

    def _proxies(self) -> tuple[Network, ...]:
        if self.trusted_proxies and self.trust_xheaders:
            raise ConfigurationError(
                "GP_TRUSTED_PROXIES and KG_TRUST_XHEADERS exclude each other: the one believes some proxies, "
                "the other everyone. Unset KG_TRUST_XHEADERS."
            )
        try:
            return parse_networks(self.trusted_proxies)
        except ValueError as error:
            raise ConfigurationError(
                f"GP_TRUSTED_PROXIES must be networks such as 10.0.0.0/8, separated by commas: {error}."
            ) from None

    async def _serve_until_signal(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop)
        await self.serve()

    async def _attach(self, backend: Backend) -> bool:
        """Attach the back end; return False if the gateway was asked to stop before that was done."""
        attaching = asyncio.create_task(
            backend.attach(
                self.kernel_manager, self.kernel_spec_manager, self.health, self.kernel_addresses
            )
        )
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({attaching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not attaching.done():
            attaching.cancel()
            return False
        attaching.result()
        return True

    def _new_authenticator(self) -> Authenticator:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9-]{1,63}", self.auth_header):
            raise ConfigurationError(
                f"GP_AUTH_HEADER={self.auth_header[:64]!r} must be the name of an HTTP header: 2 to 64 "
                "letters, digits and hyphens."
            )
        methods = build_methods(
            self.auth_token, self.auth_methods, UserGroups(self.user_groups_file)
        )
        if not methods and not self.allow_unauthenticated:
            raise ConfigurationError(
                "There is no token: set KG_AUTH_TOKEN, or GP_ALLOW_UNAUTHENTICATED=true to let every "
                "client that can connect run code."
            )
        return Authenticator(methods, self.auth_header)

    def _add_checks(self) -> None:
        self.health.add("kernelspecs", self.kernel_spec_manager.check)
        self.health.add("gateway", self._check_stopping)

    def _check_stopping(self) -> Check:
        stopping = self._stopping.is_set()
        return Check(not stopping, "stopping" if stopping else "")

    async def _drain(self) -> None:
        self.http_server.stop()
        if self._backend is not None:
            await self._backend.stop_leading()
        await asyncio.gather(
            self._finish_starts(),
            self.kernel_manager.close_websockets(self.drain_seconds, _CLOSE_SECONDS),
        )
        await self.kernel_manager.release_all(shut_down_all=self.shutdown_kernels_on_exit)
        await self.http_server.close_all_connections()
        await self.authenticator.close()
        self._probes.stop()
        await self._probes.close_all_connections()
        if self._backend is not None:
            await self._backend.detach()
        await asyncio.to_thread(self.kernel_manager.audit.close)
        self.log.info("Stopped.")

    async def _finish_starts(self) -> None:
        await self.kernel_manager.starts.finish(self.drain_seconds)
        await self._progress_streams.close(_CLOSE_SECONDS)


def _lacks_known_cause(record: logging.LogRecord) -> bool:
    """Return whether to log a record.

    jupyter_client logs every failure with a traceback, and raises it as well. A handler then logs the known
    ones in one line.
    """
    return not (record.exc_info and known_cause(record.exc_info[1]))


main = GatewayApp.launch_instance
