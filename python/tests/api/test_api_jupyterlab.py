"""A stock Jupyter server that uses the gateway: `jupyter lab --gateway-url` without its pages."""

import asyncio
import contextlib
import os
import sys

import aiohttp
import pytest

from api.provisioners import IMAGE_MISSING, Failing, FailingAs, Moving
from api.running import TOKEN, running_gateway
from ci.gateway_client import Gateway, Refused
from gateway_provisioners.errors import LaunchFailed

SERVER_TOKEN = "the-token-of-the-server"


@contextlib.asynccontextmanager
async def jupyter_server(gateway, port, *options, token=TOKEN, program="jupyter_server"):
    """Run a server in a process of its own; yield a client of it, in the place of a browser."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        program,
        "--ServerApp.jpserver_extensions=gateway_provisioners_client.server=False",
        f"--gateway-url={gateway.url}",
        f"--GatewayClient.auth_token={token}",
        f"--IdentityProvider.token={SERVER_TOKEN}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--ServerApp.open_browser=False",
        "--ServerApp.allow_root=True",
        *options,
        env={**os.environ, "KERNEL_USERNAME": "alice"},
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        await until_listening(process, port)
        async with Gateway(f"http://127.0.0.1:{port}", SERVER_TOKEN) as client:
            yield client
    finally:
        process.kill()
        await process.wait()


async def until_listening(process, port):
    """Try until the port answers: the server logs that it serves before it does."""
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise AssertionError("the server has ended")


async def test_a_notebook_server_runs_kernels_of_the_gateway(
    add_provisioner, unused_tcp_port, jupyter_dirs
):
    add_provisioner("failing", Failing)
    add_provisioner("moving", Moving)
    async with (
        running_gateway() as gateway,
        jupyter_server(gateway, unused_tcp_port) as browser,
    ):
        specs = await browser.request("GET", "/api/kernelspecs")
        assert {"local", "moving", "failing"} <= specs["kernelspecs"].keys()

        async with browser.kernel("moving") as kernel:
            result = await kernel.execute("import os; print(os.environ['KERNEL_USERNAME'])")
            assert result.text == "alice\n"
            await browser.restart(kernel.kernel_id)
            assert (await kernel.execute("os")).error == "NameError"
            assert set(await gateway.client.kernels()) == {kernel.kernel_id}
        assert await gateway.client.kernels() == {}

        # JupyterLab starts kernels through sessions, and shows the answer's message.
        body = {"path": "a.ipynb", "type": "notebook", "name": "", "kernel": {"name": "failing"}}
        with pytest.raises(Refused) as refused:
            await browser.request("POST", "/api/sessions", body)
        assert f"[{IMAGE_MISSING}] ImagePull" in refused.value.message


async def test_every_status_shows_the_cause_and_starts_nothing_twice(
    add_provisioner, unused_tcp_port, jupyter_dirs
):
    add_provisioner("failing_as", FailingAs)
    kernel = {"name": "failing_as"}
    session = {"path": "a.ipynb", "type": "notebook", "name": "", "kernel": kernel}
    async with (
        running_gateway() as gateway,
        jupyter_server(gateway, unused_tcp_port) as browser,
    ):
        for reason, status in STATUSES.items():
            FailingAs.attempts = 0
            FailingAs.error = LaunchFailed(reason, f"The cause is this one. {LONG}")
            FailingAs.error.kernel = "'x' (4711)"
            with pytest.raises(Refused) as refused:
                await browser.request("POST", "/api/sessions", session)
            first, *others = refused.value.message.split("\n")
            assert first.startswith(f"HTTP {status}: ")
            assert "(Error from Gateway: [The cause is this one. " in first
            assert len(first) <= 110
            assert others[-1].startswith(f"Kernel 'x' (4711)] {reason}. Ensure gateway url")
            assert FailingAs.attempts == 1

            with pytest.raises(Refused) as refused:
                await browser.request("POST", "/api/kernels", kernel)
            assert refused.value.status == status
            assert FailingAs.attempts == 2


STATUSES = {
    "QuotaExceeded": 403,
    "OOMKilled": 422,
    "ImagePull": 500,
    "Evicted": 503,
    "Timeout": 504,
}
LONG = "No line of this sentence may be longer than JupyterLab's dialog is wide. " * 5


@pytest.mark.parametrize("base_url", ["/", "/team-a"])
async def test_the_servers_pages_show_the_logos_of_kernels(base_url, unused_tcp_port, jupyter_dirs):
    picture = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    (jupyter_dirs / "local" / "logo-svg.svg").write_text(picture)
    async with running_gateway(base_url=base_url) as gateway:
        gateway.url += base_url.rstrip("/")
        async with (
            jupyter_server(
                gateway, unused_tcp_port, "--ServerApp.base_url=/user/alice/"
            ) as browser,
            aiohttp.ClientSession(headers={"Authorization": f"token {SERVER_TOKEN}"}) as http,
        ):
            async with http.get(f"{browser.url}/user/alice/api/kernelspecs") as response:
                resources = (await response.json())["kernelspecs"]["local"]["resources"]
            assert resources == {"logo-svg": "/user/alice/kernelspecs/local/logo-svg.svg"}
            async with http.get(browser.url + resources["logo-svg"]) as response:
                assert (response.status, response.content_type) == (200, "image/svg+xml")
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert await response.text() == picture


LARGE_OUTPUT = """
from IPython.display import publish_display_data
publish_display_data({"text/plain": "x" * 12_000_000})
print("after it")
"""


async def test_output_too_large_for_the_server_becomes_a_sentence(unused_tcp_port):
    """The server's own client of gateways would close the connection, and lose what follows."""
    async with (
        running_gateway() as gateway,
        jupyter_server(gateway, unused_tcp_port) as browser,
        browser.kernel("local") as kernel,
    ):
        result = await kernel.execute(LARGE_OUTPUT)
        assert "the Jupyter server in front of the gateway takes at most 10.0 MiB" in result.text
        assert result.text.endswith("after it\n")
        assert (await kernel.execute("print(1)")).text == "1\n"


async def test_many_megabytes_of_lines_arrive_through_the_server(unused_tcp_port):
    async with (
        running_gateway() as gateway,
        jupyter_server(
            gateway, unused_tcp_port, "--ServerApp.iopub_data_rate_limit=1e9"
        ) as browser,
        browser.kernel("local") as kernel,
    ):
        result = await kernel.execute("for n in range(300): print(n, 'x' * 100_000)")
        lines = result.text.splitlines()
        assert [int(line.split()[0]) for line in lines] == list(range(300))


@pytest.mark.parametrize("scheme", ["token", ""])
async def test_a_server_sends_our_token_beside_that_of_a_proxy(scheme, unused_tcp_port):
    options = [
        "--GatewayClient.auth_header_key=X-Gateway-Token",
        f"--GatewayClient.auth_scheme={scheme}",
        '--GatewayClient.headers={"Authorization": "Bearer for-the-proxy"}',
    ]
    async with (
        running_gateway(auth_header="X-Gateway-Token") as gateway,
        jupyter_server(gateway, unused_tcp_port, *options) as browser,
        browser.kernel("local") as kernel,
    ):
        assert (await kernel.execute("print(1)")).text == "1\n"
