"""The client package against a real gateway: kernels, progress, websockets, credentials."""

import asyncio
import contextlib
import json
import sys
import traceback
import uuid

import pytest
from gateway_provisioners_client.errors import (
    ConfigurationError,
    GatewayRefused,
    GatewayUnreachable,
)
from gateway_provisioners_client.gateway.api import SUBPROTOCOL, GatewayApi
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.credentials import Credentials

from api.certificates import write_certificate
from api.provisioners import Failing
from api.running import TOKEN, running_gateway
from api.test_api_jupyterlab import until_listening
from timeouts import within_timeout

# Of this environment; an ordinary server needs none of them, and starts sooner.
EXTENSIONS = (
    *("gateway_provisioners_client.server", "jupyter_lsp", "jupyter_server_terminals"),
    *("jupyterlab", "notebook", "notebook_shim"),
)


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", TOKEN)


async def test_a_kernel_from_its_start_to_its_end(gateway, token):
    async with GatewayApi(GatewayConfig(gateway.url)) as api:
        specs = await api.kernelspecs()
        assert specs.default == "local"
        assert specs.specs["local"].display_name == "Local"
        kernel_id = str(uuid.uuid4())
        model = await api.start("local", kernel_id, {"KERNEL_USERNAME": "alice"})
        assert model["id"] == kernel_id
        assert [kernel["id"] for kernel in await api.kernels()] == [kernel_id]
        steps = [step async for step in api.progress(kernel_id)]
        assert steps[-1].ready
        await api.interrupt(kernel_id)
        await api.restart(kernel_id)
        websocket = await api.websocket(kernel_id, "a-session")
        assert websocket.protocol == SUBPROTOCOL
        await websocket.close()
        await api.delete(kernel_id)
        await api.delete(kernel_id)
        assert await api.kernel(kernel_id) is None


async def test_a_token_that_was_renewed_while_a_kernel_runs(gateway, tmp_path):
    """Both a request and a websocket get the new one."""
    config = GatewayConfig(gateway.url, token_command=("cat", str(tmp_path / "token")))
    (tmp_path / "token").write_text(TOKEN)
    clock = 0.0
    credentials = Credentials(config, clock=lambda: clock)
    async with GatewayApi(config, credentials=credentials) as api:
        kernel_id = (await api.start("local", str(uuid.uuid4()), {}))["id"]
        for request in (api.kernels, lambda: api.websocket(kernel_id, "s")):
            (tmp_path / "token").write_text("expired")
            clock += config.token_seconds
            with pytest.raises(GatewayRefused):
                await request()
            (tmp_path / "token").write_text(TOKEN)
            clock += 10  # the command is not run at every refusal
            result = await request()
        assert result.protocol == SUBPROTOCOL
        await result.close()
        await api.delete(kernel_id)


@pytest.mark.attack(21)
async def test_a_refused_token_is_in_no_error(gateway, monkeypatch):
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", "wrong-but-secret")
    async with GatewayApi(GatewayConfig(gateway.url)) as api:
        for request in (api.kernels(), api.start("local", "1", {}), api.websocket("1", "s")):
            with pytest.raises(GatewayRefused) as caught:
                await request
            assert caught.value.status in {401, 403}
            assert "wrong-but-secret" not in "".join(traceback.format_exception(caught.value))


async def test_the_reason_of_a_failed_start_arrives_in_full(gateway, token, add_provisioner):
    add_provisioner("failing", Failing)
    async with GatewayApi(GatewayConfig(gateway.url)) as api:
        with pytest.raises(GatewayRefused) as caught:
            await api.start("failing", str(uuid.uuid4()), {})
        assert caught.value.reason == "ImagePull"
        assert "The image acme/x:1 is nowhere: see its name." in str(caught.value)
        assert await api.kernels() == []


async def test_headers_of_a_variable_reach_the_gateway(monkeypatch):
    monkeypatch.setenv("PROXY_HEADERS", json.dumps({"X-Gateway-Token": f"token {TOKEN}"}))
    async with running_gateway(auth_header="X-Gateway-Token") as running:
        config = GatewayConfig(running.url, headers_variable="PROXY_HEADERS")
        async with GatewayApi(config) as api:
            assert (await api.kernelspecs()).default == "local"


@contextlib.asynccontextmanager
async def ordinary_server(port, folder):
    """Run a Jupyter server that has local kernels only; give its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jupyter_server", f"--IdentityProvider.token={TOKEN}"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *("--ServerApp.allow_root=True", f"--ServerApp.root_dir={folder}"),
        "--ServerApp.open_browser=False",
        *(f"--ServerApp.jpserver_extensions={name}=False" for name in EXTENSIONS),
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        await within_timeout(until_listening(process, port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()  # it ends its kernels
        await process.wait()


async def test_a_gateway_that_is_an_ordinary_jupyter_server(token, unused_tcp_port, tmp_path):
    """It has no progress and no features; all else works."""
    async with (
        ordinary_server(unused_tcp_port, tmp_path) as url,
        GatewayApi(GatewayConfig(url)) as api,
    ):
        assert "local" in (await api.kernelspecs()).specs
        kernel_id = (await api.start("local", str(uuid.uuid4()), {}))["id"]
        assert [step async for step in api.progress(kernel_id)] == []
        websocket = await api.websocket(kernel_id, "s")
        assert websocket.features == frozenset()
        await websocket.close()
        await api.interrupt(kernel_id)
        await api.restart(kernel_id)
        await api.delete(kernel_id)
        assert await api.kernel(kernel_id) is None


async def test_a_gateway_that_wants_a_client_certificate(token, tmp_path):
    write_certificate(tmp_path, "localhost")
    certificate, key = str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")
    async with running_gateway(certfile=certificate, keyfile=key, client_ca=certificate) as running:
        url = running.url.replace("http:", "https:")
        async with GatewayApi(GatewayConfig(url, ca_file=certificate)) as api:
            with pytest.raises(GatewayUnreachable):
                await api.kernels()
        shown = GatewayConfig(url, ca_file=certificate, client_cert=certificate, client_key=key)
        async with GatewayApi(shown) as api:
            assert await api.kernels() == []
    wrong = GatewayConfig(url, ca_file=certificate, client_cert=certificate, client_key=certificate)
    async with GatewayApi(wrong) as api:
        with pytest.raises(ConfigurationError, match=r"client certificate in .* cannot be used"):
            await api.kernels()
