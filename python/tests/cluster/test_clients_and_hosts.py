"""Stock clients of our gateway, and our provisioner in stock host processes."""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

import aiohttp
import nbformat
import pytest
from host_network import local_cluster
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from ci import images
from ci.gateway_access import free_port, jupyter_server
from ci.gateway_client import Gateway, Refused
from notebook_client import execute_notebook
from programs import program
from timeouts import TIMEOUT_SECONDS, within_timeout


@pytest.fixture
def jupyterlabs_server(gateway, chart, kubectl):
    """A Jupyter server whose kernels are the gateway's, as `jupyter lab --gateway-url` runs one."""
    with jupyter_server(gateway.url, gateway.token) as url:
        yield url


async def test_nbclient_runs_a_notebook(gateway, tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("x = 6"),
            nbformat.v4.new_code_cell("print(x * 7)"),
        ]
    )
    path = tmp_path / "notebook.ipynb"
    nbformat.write(notebook, path)
    await execute_notebook(path, gateway.url, gateway.token)
    executed = nbformat.read(path, as_version=4)
    assert executed.cells[1].outputs[0].text == "42\n"


async def test_jupyterlab_shows_why_a_kernel_did_not_start(chart, jupyterlabs_server):
    """JupyterLab opens a notebook by asking its server for a session, and shows the error message."""
    await chart.upgrade({"kernels": {"nowhere": {"image": "acme/nowhere:1"}}})
    session = {"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"name": "nowhere"}}
    async with Gateway(jupyterlabs_server, "") as lab:
        with pytest.raises(Refused) as refusal:
            await lab.request("POST", "/api/sessions", session)
    assert "[The image cannot be pulled (" in refusal.value.message


@pytest.fixture
async def kernelspecs(tmp_path):
    """A folder of kernelspecs, made by the documented command."""
    await program(
        str(Path(sys.executable).parent / "jupyter-k8s-spec"),
        *("install", "--prefix", str(tmp_path)),
        *(
            "--image-name",
            images.KERNEL_PY.reference,
            "--kernel-name",
            "pod",
            "--display-name",
            "Pod",
        ),
    )
    return tmp_path / "share" / "jupyter" / "kernels"


@pytest.fixture
def provisioner_environment(cluster, kubectl, namespace):
    """The settings that a host outside the cluster needs.

    Kernels report to its address on the way to the cluster, which is not that of its default route.
    """
    local_cluster(cluster)
    return {"KUBECONFIG": kubectl.kubeconfig, "GP_NAMESPACE": namespace.name}


@pytest.fixture
def manager(kernelspecs, provisioner_environment, monkeypatch):
    """jupyter_client alone, with no host around it."""
    for name, value in provisioner_environment.items():
        monkeypatch.setenv(name, value)
    return AsyncKernelManager(
        kernel_name="pod",
        kernel_spec_manager=KernelSpecManager(
            kernel_dirs=[str(kernelspecs)], ensure_native_kernel=False
        ),
    )


async def test_bare_jupyter_client(manager, namespace):
    await manager.start_kernel(env={"KERNEL_USERNAME": "alice"})
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=TIMEOUT_SECONDS)
    reply = await client.execute_interactive("x = 1", timeout=TIMEOUT_SECONDS)
    assert reply["content"]["status"] == "ok"
    assert await manager.is_alive()
    await manager.restart_kernel()
    assert await manager.is_alive()
    client.stop_channels()
    await manager.shutdown_kernel()
    await namespace.wait_no_kernels()


async def answers(client):
    """Return when a host that is starting answers."""
    while True:
        try:
            return await client.request("GET", "/api")
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def host(*command, port, environment):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        env={**os.environ, **environment},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with Gateway(url, "t0ken") as client:
            await within_timeout(answers(client))
            yield client
    finally:
        process.terminate()
        await process.wait()


async def use(client, namespace):
    async with client.kernel("pod") as kernel:
        assert (await kernel.execute("print(6 * 7)")).text == "42\n"
        result = await kernel.execute(
            "print(1)\nwhile True: pass", on_busy=lambda: client.interrupt(kernel.kernel_id)
        )
        assert result.error == "KeyboardInterrupt"
    await namespace.wait_no_kernels()


async def test_plain_jupyter_kernel_gateway(kernelspecs, provisioner_environment, namespace):
    port = free_port()
    environment = {
        **provisioner_environment,
        "JUPYTER_PATH": str(kernelspecs.parent),
        "KG_AUTH_TOKEN": "t0ken",
        "KG_PORT": str(port),
    }
    async with host("kernel_gateway", port=port, environment=environment) as client:
        await use(client, namespace)


async def test_plain_jupyter_server(kernelspecs, provisioner_environment, namespace):
    port = free_port()
    environment = {
        **provisioner_environment,
        "JUPYTER_PATH": str(kernelspecs.parent),
        "JUPYTER_TOKEN": "t0ken",
    }
    command = ("jupyter_server", f"--port={port}", "--no-browser", "--allow-root")
    async with host(*command, port=port, environment=environment) as client:
        await use(client, namespace)


async def test_a_custom_launch_script(manager, kernelspecs, namespace):
    """A replaced scripts/launch_kubernetes.py is run, and its version 1 launcher is understood."""
    script = kernelspecs / "pod" / "scripts" / "launch_kubernetes.py"
    script.write_text(OWN_SCRIPT)
    await manager.start_kernel(env={"KERNEL_USERNAME": "alice"})
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=TIMEOUT_SECONDS)
    client.stop_channels()
    [pod] = await namespace.objects("pods")
    assert pod["metadata"]["annotations"]["acme/made-by"] == "our own script"
    assert json.dumps(pod["metadata"]["labels"]).count("kernel_id") == 1
    await manager.shutdown_kernel()
    await namespace.wait_no_kernels()


async def test_a_launch_script_that_fails_reports_why(manager, kernelspecs):
    script = kernelspecs / "pod" / "scripts" / "launch_kubernetes.py"
    script.write_text("raise SystemExit('no coffee, no kernel')")
    with pytest.raises(Exception, match="no coffee, no kernel"):
        await manager.start_kernel()


OWN_SCRIPT = """
import argparse
import json
import os

from kubernetes import client, config

parser = argparse.ArgumentParser()
for option in ("kernel-id", "port-range", "response-address", "public-key", "kernel-class-name"):
    parser.add_argument(f"--{option}")
options = parser.parse_args()
config.load_kube_config()
environment = {
    "KERNEL_ID": options.kernel_id,
    "KERNEL_LANGUAGE": "python",
    "PORT_RANGE": options.port_range,
    "RESPONSE_ADDRESS": options.response_address,
    "PUBLIC_KEY": options.public_key,
}
marks = json.loads(os.environ["KERNEL_POD_METADATA"])
client.CoreV1Api().create_namespaced_pod(
    os.environ["KERNEL_NAMESPACE"],
    {
        "metadata": {
            **marks,
            "name": os.environ["KERNEL_POD_NAME"],
            "annotations": {**marks["annotations"], "acme/made-by": "our own script"},
        },
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "custom",
                    "image": os.environ["KERNEL_IMAGE"],
                    "env": [{"name": name, "value": value} for name, value in environment.items()],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    },
)
"""
