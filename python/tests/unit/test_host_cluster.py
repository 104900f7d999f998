"""The gateway's hold on its cluster, without one."""

import asyncio

import pytest

from gateway_provisioners.errors import ClusterError
from gateway_provisioners.host import cluster as module
from gateway_provisioners.host.app import GatewayApp
from gateway_provisioners.host.cluster import Cluster


async def test_an_api_server_that_does_not_answer_is_waited_for(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0)
    answers = [ClusterError("no answer"), ClusterError("unavailable", status=503), None]

    async def step():
        if answer := answers.pop(0):
            raise answer

    await module._patiently(step)
    assert answers == []


async def test_an_api_server_that_refuses_is_not(monkeypatch):
    async def step():
        raise ClusterError("forbidden", status=403)

    with pytest.raises(ClusterError, match="forbidden"):
        await module._patiently(step)


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
