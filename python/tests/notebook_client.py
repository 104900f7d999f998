"""Programs that execute notebooks on a gateway's kernels, as docs/clients.md has it."""

import sys

import nbformat

from ci.paths import ROOT
from programs import program

EXECUTE = """
import sys
import nbformat
from gateway_provisioners_client.notebooks import GatewayKernelManager
from nbclient import NotebookClient

path, kernel = sys.argv[1:]
notebook = nbformat.read(path, as_version=4)
try:
    NotebookClient(notebook, kernel_name=kernel, kernel_manager_class=GatewayKernelManager).execute()
finally:
    nbformat.write(notebook, path)
"""


def write_notebook(path, *cells, kernel=""):
    """Write a notebook with these code cells."""
    spec = {"name": kernel, "display_name": kernel, "language": "python"}
    metadata = {"kernelspec": spec} if kernel else {}
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


def output_of(path):
    """Return the text that an executed notebook's cells have printed."""
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.outputs)


async def with_gateway(folder, executable, *arguments, url, token="", **environment):
    """Run a program for which the gateway is named by variables only; return its output."""
    return await program(
        executable,
        *arguments,
        cwd=folder,
        PYTHONPATH=str(ROOT),
        JUPYTER_GATEWAY_URL=url,
        JUPYTER_GATEWAY_AUTH_TOKEN=token,
        **environment,
    )


async def execute_notebook(path, url, token="", kernel="python3"):
    """Execute a notebook in its place with nbclient, in a process of its own."""
    await with_gateway(
        path.parent, *(sys.executable, "-c", EXECUTE, path.name, kernel), url=url, token=token
    )
