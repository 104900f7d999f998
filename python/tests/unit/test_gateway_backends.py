"""The gateway's back ends, without an engine."""

import asyncio
import subprocess
import sys

import pytest

from gateway_provisioners.aio import Backoff
from gateway_provisioners.errors import ClusterError
from gateway_provisioners.gateway.app import GatewayApp
from gateway_provisioners.gateway.backends import base
from gateway_provisioners.gateway.backends.choose import choose_backend
from gateway_provisioners.gateway.backends.kubernetes import KubernetesBackend


async def test_an_api_server_that_does_not_answer_is_waited_for(monkeypatch):
    monkeypatch.setattr(base, "_BACKOFF", Backoff(0, 0))
    answers = [ClusterError("no answer"), ClusterError("unavailable", status=503), None]

    async def step():
        if answer := answers.pop(0):
            raise answer

    await base.retry_while_unavailable(step)
    assert answers == []


async def test_an_api_server_that_refuses_is_not_waited_for():
    async def step():
        raise ClusterError("forbidden", status=403)

    with pytest.raises(ClusterError, match="forbidden"):
        await base.retry_while_unavailable(step)


async def test_a_gateway_can_be_stopped_while_it_waits_for_its_cluster(monkeypatch, tmp_path):
    waiting, cancelled = asyncio.Event(), []

    async def attach(*_):
        waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    monkeypatch.setattr(KubernetesBackend, "attach", attach)
    monkeypatch.setenv("GP_INSTANCE", "test")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    app = GatewayApp(auth_token="x")
    serving = asyncio.create_task(app.serve())
    await waiting.wait()
    app.request_stop()
    await serving
    assert cancelled


@pytest.mark.parametrize(
    ("name", "library"), [("docker", "aiodocker"), ("kubernetes", "kubernetes")]
)
def test_an_engine_whose_library_is_not_installed(name, library):
    # In a process of its own: this one has imported the library.
    code = f"import sys; sys.modules[{library!r}] = None\n"
    code += "from gateway_provisioners.gateway.app import main; main([])"
    environment = {"GP_ENGINE": name, "GP_INSTANCE": "test", "KG_AUTH_TOKEN": "x"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.endswith(f"GP_ENGINE={name} needs pip install 'gateway_provisioners[{name}]'.")


def test_without_an_instance_nothing_is_followed(monkeypatch):
    monkeypatch.delenv("GP_INSTANCE", raising=False)
    assert choose_backend("kubernetes", None) is None
