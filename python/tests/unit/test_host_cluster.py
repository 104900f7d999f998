"""The gateway's hold on its cluster, without one."""

import asyncio
import logging

import pytest

from gateway_provisioners.errors import ClusterError, ConfigurationError
from gateway_provisioners.host import cluster as module
from gateway_provisioners.host.app import GatewayApp
from gateway_provisioners.host.cluster import Cluster
from gateway_provisioners.host.health import HealthChecks

RECORD = {
    "kernel_id": "k",
    "kernel_name": "local",
    "kernel_spec": {"argv": ["python"], "display_name": "Local", "language": "python"},
    "environment": {},
}


class Services:
    """What the cluster's watch and API would say."""

    def __init__(self, records):
        self.records = records
        self.removed = []
        self.pods = self

    async def acquire(self):
        pass

    async def release(self):
        pass

    def remove_unfinished_launches(self):
        pass

    def running_kernels(self):
        return list(self.records)

    async def record(self, pod):
        record = self.records[pod]
        if isinstance(record, Exception):
            raise record
        return record

    def remove_soon(self, pod, *, grace_seconds):
        self.removed.append(pod)


class Kernels:
    """Takes over kernels, if they are called `local`."""

    def __init__(self):
        self.adopted = []

    async def adopt(self, *, kernel_id, kernel_name, **_):
        if kernel_name != "local":
            raise ModuleNotFoundError(kernel_name)
        self.adopted.append(kernel_id)


@pytest.fixture
def attach(monkeypatch):
    async def attach(**records):
        services, kernels = Services(records), Kernels()
        monkeypatch.setattr(module.KubernetesServices, "of_running_loop", lambda _: services)
        await Cluster(None).attach(kernels, None, HealthChecks())
        return services, kernels

    return attach


async def test_a_kernel_that_cannot_be_taken_over_takes_no_other_with_it(attach, caplog):
    caplog.set_level(logging.WARNING)
    services, kernels = await attach(
        broken={"version": 99, "environment": {"PASSWORD": "s3cret"}},
        foreign={**RECORD, "kernel_name": "foreign"},
        whole=RECORD,
    )
    assert kernels.adopted == ["k"]
    assert services.removed == []
    assert "broken" in caplog.text
    assert "foreign" in caplog.text
    assert "s3cret" not in caplog.text


async def test_pods_that_nobody_has_the_keys_of_are_removed(attach):
    services, _ = await attach(
        unfinished=None, without_secret=ClusterError("not found", status=404)
    )
    assert services.removed == ["unfinished", "without_secret"]


async def test_a_record_that_cannot_be_read_now_is_not_given_up(attach):
    with pytest.raises(ConfigurationError, match="no answer"):
        await attach(whole=ClusterError("no answer"))


async def test_a_gateway_can_be_stopped_while_it_waits_for_its_cluster(monkeypatch, tmp_path):
    waiting, cancelled = asyncio.Event(), []

    async def attach(*_):
        waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    monkeypatch.setattr(Cluster, "attach", attach)
    monkeypatch.setenv("GP_INSTANCE", "test")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    app = GatewayApp(auth_token="x")
    serving = asyncio.create_task(app.serve())
    await waiting.wait()
    app.request_stop()
    await serving
    assert cancelled
