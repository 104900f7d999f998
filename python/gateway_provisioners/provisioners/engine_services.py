"""The parts of a process that all its kernels of one engine share, such as the response server.

On an event loop the first holder starts them and the last one stops them. The gateway holds them for its
lifetime; in a script with one kernel they stop with the kernel.
"""

from __future__ import annotations

import asyncio
import weakref
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

from gateway_provisioners.handshake.payload import GatewayKey
from gateway_provisioners.handshake.response_server import Expectation, ResponseServer
from gateway_provisioners.provisioners.engine_traits import EngineTraits
from gateway_provisioners.provisioners.response_route import local_address

_MAX_USAGE_QUESTIONS = 32

Services = TypeVar("Services", bound="EngineServices")

_of_loop: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, dict[type[EngineServices], EngineServices]
] = weakref.WeakKeyDictionary()


class EngineServices(EngineTraits):
    """The shared parts; get them with `of_running_loop`, then `acquire` and `release`.

    Each kernel's provisioner is a holder, from its launch or adoption until its cleanup or release. The
    gateway's back end is another: it acquires them before it serves, and calls `close` when it stops.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._holders = 0
        self._lock = asyncio.Lock()
        self._response_server: ResponseServer | None = None
        self._gateway_key: GatewayKey | None = None
        self.usage_questions = asyncio.Semaphore(_MAX_USAGE_QUESTIONS)
        """Bounds how many launchers are asked for their kernels' usage at the same time."""

    # For an engine to implement.

    @property
    @abstractmethod
    def outlives_process(self) -> bool:
        """True if a later process finds this one's kernels; read by provisioners after `acquire`."""

    @abstractmethod
    async def start_engine(self) -> None:
        """Connect to the engine and follow it; called by the first `acquire`.

        Raises:
            ConfigurationError, EngineError: that failed; `stop_engine` is called.
        """

    @abstractmethod
    async def stop_engine(self) -> None:
        """Close all that `start_engine` opened, even if it failed; called by the last `release`."""

    async def hosts_near_kernels(self) -> Sequence[str]:
        """Return IP addresses, or host names, that lie where new kernels do, the best first.

        Called at each launch where GP_RESPONSE_IP is not set: the kernel reports to the address that this
        machine sends from to the first of them that it has a route to. Without one, the default route counts.
        """
        return ()

    # For provisioners and the gateway to call.

    @classmethod
    def of_running_loop(cls: type[Services], parent: Any = None) -> Services:
        """Return the services of the running event loop; `parent` configures them when they are new."""
        services = _of_loop.setdefault(asyncio.get_running_loop(), {})
        if cls not in services:
            services[cls] = cls(parent=parent)
        found = services[cls]
        assert isinstance(found, cls)  # noqa: S101
        return found

    @property
    def response_server(self) -> ResponseServer:
        assert self._response_server is not None, "not acquired"  # noqa: S101
        return self._response_server

    async def response_address(self, expectation: Expectation) -> str:
        """Return the `ip:port` for the launcher of one launch, where the response server listens from now on.

        Raises:
            ConfigurationError: this machine has no such address, or no port is free.
            EngineError: the engine did not answer.
        """
        ip = self.response_ip or await local_address(await self.hosts_near_kernels())
        return await self.response_server.listen(expectation, ip)

    async def acquire(self) -> None:
        """Start everything, or count one more holder.

        Raises:
            ConfigurationError: no engine is found, or no response port is free.
            EngineError: the engine refused or did not answer.
        """
        async with self._lock:
            if not self._holders:
                try:
                    await self.start_engine()
                    await self._start_response_server()
                except BaseException:
                    await self._stop()
                    raise
            self._holders += 1

    async def release(self) -> None:
        """Count one holder less, and stop everything if it was the last."""
        async with self._lock:
            self._holders -= 1
            if not self._holders:
                await self._stop()

    async def close(self) -> None:
        """Stop everything, even if there are holders: for a process that ends."""
        async with self._lock:
            self._holders = 0
            await self._stop()

    async def _start_response_server(self) -> None:
        # This takes a tenth of a second, so the key is kept when the services start again.
        if self._gateway_key is None:
            self._gateway_key = await asyncio.to_thread(GatewayKey.generate)
        self._response_server = ResponseServer(
            ip=self.response_ip,
            port=self.response_port,
            port_retries=self.response_port_retries,
            gateway_key=self._gateway_key,
            bind_any=self.response_addr_any,
        )
        await self._response_server.start()

    async def _stop(self) -> None:
        if self._response_server is not None:
            await self._response_server.stop()
            self._response_server = None
        await self.stop_engine()
