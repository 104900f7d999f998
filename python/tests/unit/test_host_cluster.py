"""The gateway's hold on its cluster, without one."""

import asyncio

from gateway_provisioners.host.app import GatewayApp
from gateway_provisioners.host.cluster import Cluster


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
