"""Kernels that do not start: every client shows the cause where its user looks."""

import sys

import pytest
from kernels import FILL_MEMORY
from lab import Client
from sight import see

from ci.gateway_access import jupyter_server
from message_words import unwrapped
from notebook_client import with_gateway, write_notebook
from timeouts import within_timeout

CAUSES = {
    "nowhere": ["The image cannot be pulled", "acme/nowhere:1"],
    "huge": ["No node can run the kernel:", "Insufficient cpu"],
    "lost": ["exited with code 127"],
    "tiny": ["needed more memory than its limit"],
}
ON_DOCKER = ["nowhere", "lost", "tiny"]
NBCLIENT = """
NotebookClient(
        nbformat.read(path, as_version=4), kernel_name=kernel, kernel_manager_class=GatewayKernelManager
    ).execute()
"""
PAPERMILL = """
papermill.execute_notebook(path, None, kernel_name=kernel, engine_name="gateway")
"""
PRINT_ERROR = """
import sys
import nbformat, papermill
from gateway_provisioners_client.notebooks import GatewayKernelManager
from nbclient import NotebookClient
path, kernel = sys.argv[1:]
try:
    {}
except Exception as error:
    print(error)
"""


@pytest.mark.parametrize("name", CAUSES)
async def test_the_dialog_of_jupyterlab_on_kubernetes(lab_on_kubernetes, name):
    await see_cause(lab_on_kubernetes, name, f"failed-start-{name}")


@pytest.mark.parametrize("name", ON_DOCKER)
async def test_the_dialog_of_jupyterlab_on_docker(lab_on_docker, name):
    await see_cause(lab_on_docker, name, f"failed-start-{name}")


async def test_the_dialog_of_notebook(on_kubernetes, browser):
    gateway = on_kubernetes
    with jupyter_server(gateway.url, gateway.token, program="notebook") as url:
        client = Client(url, browser)
        await see_cause(client, "lost", "failed-start-in-notebook", page="notebooks/{0}.ipynb")


async def see_cause(client, name, picture, **page):
    async with client.opened(picture, "1 + 1", kernel=name, **page) as notebook:
        await see(notebook.failure, "Error Starting Kernel", *CAUSES[name])
        await notebook.picture(picture)


@pytest.mark.parametrize("execute", [NBCLIENT, PAPERMILL], ids=["nbclient", "papermill"])
@pytest.mark.parametrize("name", ["lost", "small"])
async def test_the_exception_of_notebook_clients(on_kubernetes, tmp_path, execute, name):
    """`small` starts, and needs too much memory in mid-cell."""
    error = await error_of(on_kubernetes, tmp_path, execute, name)
    [cause] = CAUSES["lost"] if name == "lost" else ["more memory than its limit of 200Mi"]
    assert cause in unwrapped(error)


@pytest.mark.parametrize("name", ["lost", "small"])
async def test_the_exception_of_nbclient_on_docker(on_docker, tmp_path, name):
    error = await error_of(on_docker, tmp_path, NBCLIENT, name)
    [cause] = CAUSES["lost"] if name == "lost" else ["more memory than its limit"]
    assert cause in unwrapped(error)


async def error_of(gateway, folder, execute, kernel):
    path = folder / "in.ipynb"
    write_notebook(path, FILL_MEMORY)
    command = (sys.executable, "-c", PRINT_ERROR.format(execute.strip()), path.name, kernel)
    where = {"url": gateway.url, "token": gateway.token}
    return await within_timeout(with_gateway(folder, *command, **where))
