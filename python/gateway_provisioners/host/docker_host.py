"""The gateway's hold on its Docker engine: readiness, and the kernels that are there already."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gateway_provisioners.errors import ConfigurationError, EngineError
from gateway_provisioners.host.adoption import adopt, restoring
from gateway_provisioners.host.engine import response_server_check
from gateway_provisioners.host.failures import in_one_line
from gateway_provisioners.host.health import Check, HealthChecks
from gateway_provisioners.host.kernel_manager import GatewayKernelManager
from gateway_provisioners.host.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.host.sharing import Alone
from gateway_provisioners.model.recovery import KernelRecord
from gateway_provisioners.provisioners.docker import DockerProvisioner
from gateway_provisioners.provisioners.docker_services import DockerServices

_log = logging.getLogger(__name__)


class DockerHost(Alone):
    """Follows the engine, as an `Engine` does; its other gateways come after it, and read its records."""

    def __init__(self, parent: Any) -> None:
        self._services = DockerServices.of_running_loop(parent)
        self._kernels: GatewayKernelManager | None = None
        self._leads = True

    async def attach(
        self,
        kernels: GatewayKernelManager,
        kernelspecs: GatewayKernelSpecManager,  # noqa: ARG002 - they are files
        health: HealthChecks,
    ) -> None:
        """Begin to follow the engine; take over the kernels that are there.

        Raises:
            ConfigurationError: it cannot be used, or what shall outlive this process cannot be stored.
        """
        try:
            await self._services.acquire()
            health.add("engine", self._check_engine)
            health.add("response server", response_server_check(self._services))
            self._kernels = kernels
            kernels.sharing = self
            if self._services.outlives_process:
                found = await self._services.engine.recover()
                await asyncio.gather(*(self._adopt(kernels, each) for each in found.values()))
        except EngineError as error:
            await self._services.close()
            raise ConfigurationError(f"The Docker engine cannot be used: {error}") from error

    async def yield_duties(self) -> None:
        """Leave dead and idle kernels to the next gateway from now on."""
        self._leads = False

    async def detach(self) -> None:
        """Stop following; kernels that outlive this process go on."""
        await self.yield_duties()
        if self._kernels is not None:
            for kernel_id in self._kernels.list_kernel_ids():
                last_activity = self._kernels.get_kernel(kernel_id).last_activity
                self.tell_activity(kernel_id, last_activity.isoformat())
        await self._services.close()

    # Sharing.

    def leads(self) -> bool:
        return self._leads

    def tell_activity(self, kernel_id: str, last_activity: str) -> None:
        self._services.engine.records.note(kernel_id, last_activity=last_activity)

    def tell_started(self, kernel_id: str, started: str) -> None:
        self._services.engine.records.note(kernel_id, started=started)

    async def _adopt(self, kernels: GatewayKernelManager, record: KernelRecord) -> None:
        restore = restoring(DockerProvisioner, record.workload, record.content)
        try:
            await adopt(
                kernels,
                record.content,
                last_activity=record.last_activity,
                started=record.started,
                restore=restore,
            )
        except Exception as error:  # noqa: BLE001 - one record must not keep the others' gateway away
            _log.error(
                "Kernel %s in %s cannot be taken over and is left as it is: %s",
                record.content["kernel_id"],
                record.workload,
                in_one_line(error),
            )

    def _check_engine(self) -> Check:
        fresh = self._services.engine.fresh
        return Check(fresh, "" if fresh else "the engine's stream of events is broken")
