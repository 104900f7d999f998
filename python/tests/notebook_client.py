"""nbclient with a gateway's kernels, as docs/clients.md has it."""

import sys

from ci.paths import ROOT
from programs import program

EXECUTE = """
import sys
import nbformat
from gateway_kernel import GatewayKernel
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, kernel_name="python3", kernel_manager_class=GatewayKernel).execute()
nbformat.write(notebook, sys.argv[1])
"""


async def with_gateway_kernel(folder, code, *arguments, url, token=""):
    """Run code that imports `gateway_kernel`; return its output."""
    section = (ROOT / "docs/clients.md").read_text().partition("## nbclient and papermill")[2]
    module = section.partition("```python\n")[2].partition("```")[0]
    (folder / "gateway_kernel.py").write_text(module)
    return await program(
        *(sys.executable, "-c", code, *arguments),
        cwd=folder,
        PYTHONPATH=str(ROOT),
        JUPYTER_GATEWAY_URL=url,
        JUPYTER_GATEWAY_AUTH_TOKEN=token,
    )


async def execute_notebook(path, url, token=""):
    """Execute a notebook in its place, in a process of its own."""
    await with_gateway_kernel(path.parent, EXECUTE, path.name, url=url, token=token)
