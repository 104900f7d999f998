"""The back end for a Docker engine: readiness, and the kernels that run there.

No other gateway shares the kernels; the next gateway takes them over.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from gateway_provisioners.errors import ConfigurationError, EngineError
from gateway_provisioners.gateway.backends.annotation_writer import AnnotationWriter
from gateway_provisioners.gateway.backends.base import (
    adopt,
    check_response_server,
    retry_while_unavailable,
)
from gateway_provisioners.gateway.failures import summarize
from gateway_provisioners.gateway.kernels.addresses import KernelAddresses
from gateway_provisioners.gateway.kernels.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.gateway.kernels.peers import NoPeers
from gateway_provisioners.gateway.process.health import Check, HealthChecks
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.provisioners.docker_services import DockerServices

_log = logging.getLogger(__name__)


class DockerBackend(NoPeers):
    """A `Backend`; its announcements to `Peers` are stored for the next gateway."""

    def __init__(self, parent: Any) -> None:
        self._services = DockerServices.of_running_loop(parent)
        self._kernels: GatewayKernelManager | None = None
        self._annotations: AnnotationWriter | None = None

    async def attach(
        self,
        kernels: GatewayKernelManager,
        kernelspecs: GatewayKernelSpecManager,  # noqa: ARG002 - they are on disk
        health: HealthChecks,
        addresses: KernelAddresses,
    ) -> None:
        try:
            await retry_while_unavailable(self._services.acquire)
            self._services.engine.follow_addresses(addresses.report)
            health.add("engine", self._check_engine)
            health.add("response server", lambda: check_response_server(self._services))
            self._annotations = AnnotationWriter(self._store)
            self._kernels = kernels
            kernels.peers = self
            await retry_while_unavailable(self._adopt_all)
        except EngineError as error:
            raise ConfigurationError(f"The Docker engine cannot be used: {error}") from error

    async def stop_leading(self) -> None:
        """Do nothing: no other gateway could take over."""

    async def detach(self) -> None:
        if self._annotations is not None and self._kernels is not None:
            for kernel_id in self._kernels.list_kernel_ids():
                last_activity = self._kernels.get_kernel(kernel_id).last_activity
                self.announce_activity(kernel_id, last_activity.isoformat())
            await self._annotations.finish()
        await self._services.close()

    # Peers.

    def announce_activity(self, kernel_id: str, last_activity: str) -> None:
        self._announce(kernel_id, "last_activity", last_activity)

    def announce_started(self, kernel_id: str, started: str) -> None:
        self._announce(kernel_id, "started", started)

    async def store_ownership(self, kernel_id: str, ownership: Ownership) -> None:
        assert self._kernels is not None  # noqa: S101
        workload = self._kernels.get_kernel(kernel_id).workload_name
        records = self._services.engine.records
        if stored := records.stored.get(workload):
            await records.change(workload, record=replace(stored.record, ownership=ownership))

    def _announce(self, kernel_id: str, name: str, value: str) -> None:
        if self._annotations is not None and self._kernels is not None:
            workload = self._kernels.get_kernel(kernel_id).workload_name
            if workload:
                self._annotations.announce(workload, name, value)

    async def _store(self, workload: str, values: Mapping[str, str | None]) -> None:
        records = self._services.engine.records
        if workload not in records.stored:
            raise EngineError(f"no record of {workload}", status=HTTPStatus.NOT_FOUND)
        await records.change(workload, **values)

    async def _adopt_all(self) -> None:
        assert self._kernels is not None  # noqa: S101
        for workload, stored in (await self._services.engine.recover()).items():
            if stored.record.kernel_id in self._kernels:
                continue  # taken over by an earlier attempt
            try:
                await adopt(
                    self._kernels,
                    workload,
                    stored.record,
                    last_activity=stored.last_activity,
                    started=stored.started,
                )
            except EngineError:
                raise
            except Exception as error:  # noqa: BLE001 - the others have to be taken over as well
                _log.error(
                    "Kernel %s in %s cannot be taken over and is left as it is: %s",
                    stored.record.kernel_id,
                    workload,
                    summarize(error),
                )

    def _check_engine(self) -> Check:
        fresh = self._services.engine.fresh
        return Check(fresh, "" if fresh else "the engine's stream of events is broken")
