"""The gateway process: `jupyter-gateway`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import sys
from typing import Any, ClassVar

from kernel_gateway.gatewayapp import KernelGatewayApp
from traitlets import Bool, Float, List, TraitError, Unicode, default, validate

from gateway_provisioners import settings
from gateway_provisioners._version import __version__
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.backends.base import Backend
from gateway_provisioners.gateway.backends.choose import choose_backend
from gateway_provisioners.gateway.failures import known_cause
from gateway_provisioners.gateway.http import origins
from gateway_provisioners.gateway.http.access_log import log_request
from gateway_provisioners.gateway.http.auth import TokenIdentityProvider
from gateway_provisioners.gateway.http.personality import GatewayPersonality
from gateway_provisioners.gateway.kernels.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.gateway.kernels.sessions import GatewaySessionManager
from gateway_provisioners.gateway.process import tls
from gateway_provisioners.gateway.process.health import Check, HealthChecks
from gateway_provisioners.gateway.process.open_files import raise_open_files
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection

_CLOSE_SECONDS = 2.0


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

    allow_unauthenticated = Bool(
        config=True,
        help="Serve everybody if there is no token: only where nobody else can connect "
        "(GP_ALLOW_UNAUTHENTICATED env var)",
    )
    client_envs = List(
        Unicode(),
        config=True,
        help="Variables besides KERNEL_* that clients may set for their kernels (GP_CLIENT_ENVS env var)",
    )
    allowed_origins = List(
        Unicode(),
        config=True,
        help="Web pages that may talk to this gateway from a browser, such as https://lab.example.com; "
        "* is all of them (GP_ALLOWED_ORIGINS env var)",
    )
    shutdown_kernels_on_exit = Bool(
        config=True,
        help="End every kernel when the gateway is told to stop. Otherwise only those end that no "
        "gateway could find again (GP_SHUTDOWN_KERNELS_ON_EXIT env var)",
    )
    drain_seconds = Float(
        config=True,
        help="How long kernels that are being started when the gateway is told to stop may still "
        "take, and how long to wait for a moment to send a client away at which it loses nothing "
        "(GP_DRAIN_SECONDS env var)",
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.health = HealthChecks()
        self.serving = asyncio.Event()
        self._stopping = asyncio.Event()
        self._backend: Backend | None = None
        self._tls: ssl.SSLContext | None = None
        self.log.addFilter(_is_news)

    @default("port")
    def _port_default(self) -> int:
        return settings.integer("KG_PORT", self.port_default_value)

    @default("port_retries")
    def _port_retries_default(self) -> int:
        return settings.integer("KG_PORT_RETRIES", self.port_retries_default_value)

    @default("ws_ping_interval")
    def _ws_ping_interval_default(self) -> int:
        return settings.integer("KG_WS_PING_INTERVAL_SECS", self.ws_ping_interval_default_value)

    @default("max_kernels")
    def _max_kernels_default(self) -> int | None:
        return settings.integer("KG_MAX_KERNELS", 0) or None

    @default("prespawn_count")
    def _prespawn_count_default(self) -> None:
        return None

    @default("auth_token")
    def _auth_token_default(self) -> str:
        return settings.take_secret("KG_AUTH_TOKEN")

    @default("allow_unauthenticated")
    def _allow_unauthenticated_default(self) -> bool:
        return settings.boolean("GP_ALLOW_UNAUTHENTICATED", default=False)

    @default("client_envs")
    def _client_envs_default(self) -> list[str]:
        return settings.names("GP_CLIENT_ENVS")

    @default("allowed_origins")
    def _allowed_origins_default(self) -> list[str]:
        return settings.names("GP_ALLOWED_ORIGINS")

    @default("raise_config_file_errors")
    def _raise_config_file_errors_default(self) -> bool:
        return True  # a gateway that ignores its configuration would run as nobody wants it to

    @default("shutdown_kernels_on_exit")
    def _shutdown_kernels_on_exit_default(self) -> bool:
        return settings.boolean("GP_SHUTDOWN_KERNELS_ON_EXIT", default=False)

    @default("drain_seconds")
    def _drain_seconds_default(self) -> float:
        return settings.integer("GP_DRAIN_SECONDS", 15)

    @default("log_level")
    def _log_level_default(self) -> int:
        return settings.log_level("GP_LOG_LEVEL")

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
        return TokenIdentityProvider

    @default("api")
    def _api_default(self) -> str:
        return self.api_default_value

    @validate("api")
    def _validate_api(self, proposal: Any) -> str:
        if proposal.value != self.api_default_value:
            raise TraitError(f"this gateway has one API, {self.api_default_value}")
        return self.api_default_value

    def initialize(self, argv: list[str] | None = None) -> None:
        """Read the command line and the configuration files; `serve` does the rest."""
        super(KernelGatewayApp, self).initialize(argv)

    @classmethod
    def launch_instance(cls, argv: list[str] | None = None, **kwargs: Any) -> None:
        """The command: exits with one line where a setting is wrong."""
        try:
            super().launch_instance(argv, **kwargs)
        except (ConfigurationError, TraitError) as error:
            sys.exit(f"{cls.name}: {error}")

    def start(self) -> None:
        """Serve until a signal says otherwise."""
        super(KernelGatewayApp, self).start()
        asyncio.run(self._serve_until_signal())

    async def serve(self) -> None:
        """Serve until `request_stop`, then let go of everything.

        Raises:
            ConfigurationError, TraitError: a setting is wrong; nothing is served.
        """
        settings.refuse_replaced_settings()
        self._require_token()
        if self.certfile:
            self._tls = tls.server_context(self.certfile, self.keyfile, self.client_ca)
        files = raise_open_files()
        self.init_io_loop()
        self.init_configurables()
        self._read_every_setting()
        self._add_checks()
        self._backend = choose_backend(self)
        if self._backend is not None and not await self._attached_before_stopping(self._backend):
            return
        self.init_webapp()
        self.init_http_server()
        self.log.info(
            "%s %s serves http%s://%s:%d%s (%d open files allowed)",
            self.name,
            __version__,
            "s" if self._tls else "",
            self.ip,
            self.port,
            self.base_url,
            files,
        )
        self.serving.set()
        await self._stopping.wait()
        await self._drain()

    def request_stop(self) -> None:
        """Begin to stop; returns at once."""
        self.log.info("Asked to stop.")
        self._stopping.set()

    def init_configurables(self) -> None:
        """Make the managers."""
        super().init_configurables()
        self.session_manager = GatewaySessionManager(self.kernel_manager, log=self.log)

    def init_webapp(self) -> None:
        """Make the tornado application."""
        super().init_webapp()
        self.web_app.settings.update(
            log_function=log_request,
            draining=self._stopping,
            client_variables=frozenset(self.client_envs),
            forced_kernel_name=self.force_kernel_name,
            **origins.web_settings(self.allowed_origins),
        )

    def _build_ssl_options(self) -> ssl.SSLContext | None:
        # Upstream's asks for one version of TLS, and reads the certificate once.
        return self._tls

    async def _serve_until_signal(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop)
        await self.serve()

    async def _attached_before_stopping(self, backend: Backend) -> bool:
        attaching = asyncio.create_task(
            backend.attach(self.kernel_manager, self.kernel_spec_manager, self.health)
        )
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({attaching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not attaching.done():
            attaching.cancel()
            return False
        attaching.result()
        return True

    def _read_every_setting(self) -> None:
        # A wrong one is told now, not when somebody first needs it.
        for part in (self, self.kernel_manager, self.kernel_spec_manager, self.personality):
            for name in part.trait_names(config=True):
                getattr(part, name)

    def _require_token(self) -> None:
        if not self.auth_token and not self.allow_unauthenticated:
            raise ConfigurationError(
                "there is no token: set KG_AUTH_TOKEN, or GP_ALLOW_UNAUTHENTICATED=true to let "
                "everybody run code who can connect."
            )

    def _add_checks(self) -> None:
        self.health.add("kernelspecs", self.kernel_spec_manager.check)
        self.health.add(
            "gateway",
            lambda: Check(
                not self._stopping.is_set(), "stopping" if self._stopping.is_set() else ""
            ),
        )

    async def _drain(self) -> None:
        """Stop without ending a kernel that somebody may come back to."""
        self.http_server.stop()
        if self._backend is not None:
            await self._backend.stop_leading()
        await asyncio.gather(
            self.kernel_manager.finish_starts(self.drain_seconds),
            self.kernel_manager.close_websockets(self.drain_seconds, _CLOSE_SECONDS),
        )
        await self.kernel_manager.release_all(shut_down_all=self.shutdown_kernels_on_exit)
        await self.http_server.close_all_connections()
        if self._backend is not None:
            await self._backend.detach()
        self.log.info("Stopped.")


def _is_news(record: logging.LogRecord) -> bool:
    """Whether to log a record: jupyter_client logs every failure with a traceback, and raises it.

    What was foreseen is logged once, in one line, by whoever handles it.
    """
    return not (record.exc_info and known_cause(record.exc_info[1]))


main = GatewayApp.launch_instance
