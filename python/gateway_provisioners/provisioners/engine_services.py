"""The parts of a process that all its kernels of one engine share; among them one response server.

They are made by whoever needs them first on an event loop and closed by the last to let go. The gateway
holds on to them for its lifetime; a script with one kernel is done with them when the kernel is.
"""

from __future__ import annotations

import asyncio
import weakref
from abc import abstractmethod
from typing import Any, TypeVar

from gateway_provisioners.handshake.payload import GatewayKey
from gateway_provisioners.handshake.response_server import ResponseServer
from gateway_provisioners.provisioners.engine_traits import EngineTraits

Services = TypeVar("Services", bound="EngineServices")

_of_loop: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, dict[type[EngineServices], EngineServices]
] = weakref.WeakKeyDictionary()


class EngineServices(EngineTraits):
    """Everything process-wide; get it with `of_running_loop`, then `acquire` and `release`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._holders = 0
        self._lock = asyncio.Lock()
        self._response_server: ResponseServer | None = None
        self._gateway_key: GatewayKey | None = None

    # What an engine provides.

    @property
    @abstractmethod
    def outlives_process(self) -> bool:
        """Whether a later process finds the kernels of this one and takes them over."""

    @abstractmethod
    async def start_engine(self) -> None:
        """Connect to the engine and follow what happens there.

        Raises:
            ConfigurationError, EngineError: that cannot be done.
        """

    @abstractmethod
    async def stop_engine(self) -> None:
        """Let go of all that `start_engine` made, or had made when it failed."""

    # What provisioners and the gateway do with it.

    @classmethod
    def of_running_loop(cls: type[Services], parent: Any = None) -> Services:
        """The services of the running event loop; `parent` configures them when they are new."""
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

    async def acquire(self) -> None:
        """Start everything, or count one more holder.

        Raises:
            ConfigurationError: there is no engine, or the response port cannot be had.
            EngineError: the engine does not let us in.
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
        """Count one holder less, and stop everything when it was the last."""
        async with self._lock:
            self._holders -= 1
            if not self._holders:
                await self._stop()

    async def close(self) -> None:
        """Stop everything, whoever still holds on to it: for a process that ends."""
        async with self._lock:
            self._holders = 0
            await self._stop()

    async def _start_response_server(self) -> None:
        # A tenth of a second, which a process whose kernels come and go need not spend again.
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
