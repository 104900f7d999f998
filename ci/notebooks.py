"""Execute notebooks at a Jupyter server and keep what comes out, as a notebook and as a page."""

from __future__ import annotations

from pathlib import Path

import nbformat
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.gateway.managers import GatewayKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from tornado.web import HTTPError

from ci.commands import CommandError

# For the slowest cell, in seconds.
CELL_TIMEOUT = 300


class KernelManager(GatewayKernelManager):  # type: ignore[misc] # it is not typed
    """jupyter_server's, which lacks what a client calls when a kernel takes long to answer."""

    async def _async_is_alive(self) -> bool:
        alive: bool = await self.is_alive()
        return alive


def kernel_name(notebook: Path) -> str:
    """Return the name of the kernel that a notebook asks for."""
    document = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    name: str = document.metadata.kernelspec.name
    return name


def execute(notebook: Path, server_url: str, kernel_name: str, into: Path) -> tuple[Path, Path]:
    """Execute a notebook on a kernel of that name; return the executed notebook and its HTML page.

    The outputs of a failing notebook so far are written as well. Raises CommandError when a cell
    fails or the kernel cannot be started.
    """
    client = GatewayClient.instance()
    client.url = server_url
    document = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    runner = NotebookClient(document, kernel_manager_class=KernelManager, timeout=CELL_TIMEOUT)
    into.mkdir(parents=True, exist_ok=True)
    executed, page = into / notebook.name, into / f"{notebook.stem}.html"
    try:
        # Given here as well, since GatewayKernelManager ignores its own kernel_name.
        runner.execute(kernel_name=kernel_name)
    except (CellExecutionError, HTTPError) as error:
        raise CommandError(f"{notebook.name}: {error}") from error
    finally:
        nbformat.write(document, executed)  # type: ignore[no-untyped-call]
        html, _ = HTMLExporter().from_notebook_node(document)  # type: ignore[no-untyped-call]
        page.write_text(html)
    return executed, page
