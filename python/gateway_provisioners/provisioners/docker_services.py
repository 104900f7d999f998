"""The parts that all kernels of a process on a Docker engine share: one connection, one event stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway_provisioners.dockerd.engine import DockerEngine
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.provisioners.engine_services import EngineServices
from gateway_provisioners.provisioners.engine_traits import DockerTraits


class DockerServices(EngineServices, DockerTraits):
    """The services of processes whose kernels are containers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._engine: DockerEngine | None = None

    @property
    def outlives_process(self) -> bool:
        return bool(self.state_dir) and self.instance_is_lasting

    @property
    def engine(self) -> DockerEngine:
        assert self._engine is not None, "not acquired"  # noqa: S101
        return self._engine

    async def hosts_near_kernels(self) -> Sequence[str]:
        return await self.engine.hosts_near(self.network)

    async def start_engine(self) -> None:
        if self.state_dir and not self.instance_is_lasting:
            msg = "GP_STATE_DIR needs GP_INSTANCE: a later process finds the kernels by this label."
            raise ConfigurationError(msg)
        self._engine = await DockerEngine.connect(
            instance=self.instance,
            state_folder=Path(self.state_dir) if self.state_dir else None,
            keep=not self.remove_container,
            quota=self.quota,
        )
        await self._engine.start()

    async def stop_engine(self) -> None:
        if self._engine is not None:
            await self._engine.stop()
            self._engine = None
