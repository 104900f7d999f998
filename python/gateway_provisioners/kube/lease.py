"""Leader election among processes with a Lease of the API group coordination.k8s.io.

The protocol is that of client-go's leader election: the holder renews the Lease, and another process
takes it when it has seen no renewal for the duration in the Lease. Each process measures time by its own
clock and never compares it, so clocks may differ. In addition, a Lease whose holder is known to be gone
is taken at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any

from gateway_provisioners.aio import Backoff, Loop, within
from gateway_provisioners.errors import ClusterError
from gateway_provisioners.kube.api import KubeApi
from gateway_provisioners.model.objects import Object

DURATION_SECONDS = 30
RENEW_SECONDS = 10.0
# Before another process may take it: a holder that cannot renew must stop acting as the leader.
_GIVE_UP_SECONDS = 20.0

_log = logging.getLogger(__name__)


class Lease:
    """One process that contends for one Lease.

    Args:
        holder: the name of this process.
        owner: an ownerReference; Kubernetes deletes the Lease with the owner. Or None.
        is_alive: returns whether the process of that name still runs.
        clock: a clock that only goes forward, in seconds.
    """

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        name: str,
        *,
        holder: str,
        owner: Mapping[str, Any] | None,
        is_alive: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._holder = holder
        self._owner = owner
        self._is_alive = is_alive
        self._clock = clock
        self._lease: Object = {}
        self._seen_version = ""
        self._seen_at = 0.0
        self._renewed_at: float | None = None
        self._wake = asyncio.Event()
        self._loop = Loop(
            f"lease {name}",
            self._contend_and_wait,
            Backoff(RENEW_SECONDS, RENEW_SECONDS),
            pause=self._wait,
        )

    @property
    def held(self) -> bool:
        """True if this process holds the Lease for certain."""
        return self._renewed_at is not None and self._clock() - self._renewed_at < _GIVE_UP_SECONDS

    def start(self) -> None:
        """Begin to contend for it, in the running event loop."""
        self._loop.start()

    def wake(self) -> None:
        """Contend at once: the holder may be gone."""
        self._wake.set()

    async def release(self) -> None:
        """Stop contending, and give the Lease up if this process holds it."""
        await self._loop.stop()
        if not self.held:
            return
        self._renewed_at = None
        try:
            await self._write("")
        except ClusterError as error:
            _log.info("Lease %s could not be released: %s", self._name, error)

    async def _contend_and_wait(self) -> None:
        await self.contend()
        await self._wait(RENEW_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await within(seconds, self._wake.wait())
        self._wake.clear()

    async def contend(self) -> None:
        """Renew the Lease, or take it if it is free; once.

        Raises:
            ClusterError: the API refused or did not answer.
        """
        if not self.held:
            self._renewed_at = None
            if not await self._is_free():
                return
        try:
            await self._write(self._holder)
        except ClusterError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            self._renewed_at = None  # another process was faster
        else:
            if self._renewed_at is None:
                _log.info("This process holds the lease %s now", self._name)
            self._renewed_at = self._clock()

    async def _is_free(self) -> bool:
        try:
            self._lease = await self._api.read_lease(self._namespace, self._name)
        except ClusterError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            self._lease = {}
            return True
        version = self._lease["metadata"]["resourceVersion"]
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, self._clock()
        spec = self._lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        expired = self._clock() - self._seen_at > spec.get("leaseDurationSeconds", DURATION_SECONDS)
        return holder in ("", self._holder) or expired or not self._is_alive(holder)

    async def _write(self, holder: str) -> None:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = dict(self._lease.get("spec") or {})
        if spec.get("holderIdentity") != holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = spec.get("leaseTransitions", -1) + 1
        spec.update(holderIdentity=holder, renewTime=now, leaseDurationSeconds=DURATION_SECONDS)
        if self._lease:
            written = {**self._lease, "spec": spec}
            self._lease = await self._api.replace_lease(self._namespace, self._name, written)
        else:
            metadata: Object = {"name": self._name, "namespace": self._namespace}
            if self._owner:
                metadata["ownerReferences"] = [dict(self._owner)]
            manifest = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": metadata,
                "spec": spec,
            }
            self._lease = await self._api.create_lease(self._namespace, manifest)
