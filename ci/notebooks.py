"""Execute notebooks on a gateway's kernels and keep what comes out, as a notebook and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from gateway_provisioners_client.errors import ClientError
from gateway_provisioners_client.notebooks import GatewayKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter
from traitlets.config import Config

from ci.commands import CommandError

# For the slowest cell, in seconds.
CELL_TIMEOUT = 300


@contextmanager
def at_gateway(url: str, token: str) -> Iterator[Config]:
    """Yield what makes nbclient use a gateway's kernels; the token is in a file for that time."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "token"
        file.touch(mode=0o600)
        file.write_text(token)
        options = ["--url", url, "--token-file", str(file)]
        yield Config(GatewayKernelManager={"gateway_options": options})


def kernel_name(notebook: Path) -> str:
    """Return the name of the kernel that a notebook asks for."""
    document = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    name: str = document.metadata.kernelspec.name
    return name


def execute(notebook: Path, gateway: Config, into: Path) -> tuple[Path, Path]:
    """Execute a notebook on the kernel that it names; return the executed notebook and its HTML page.

    The outputs of a failing notebook so far are written as well. Raises CommandError when a cell
    fails or the kernel cannot be started.
    """
    document = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    runner = NotebookClient(
        document,
        kernel_manager_class=GatewayKernelManager,
        config=gateway,
        timeout=CELL_TIMEOUT,
    )
    into.mkdir(parents=True, exist_ok=True)
    executed, page = into / notebook.name, into / f"{notebook.stem}.html"
    try:
        runner.execute()
    except (CellExecutionError, ClientError, DeadKernelError) as error:
        raise CommandError(f"{notebook.name}: {error}") from error
    finally:
        nbformat.write(document, executed)  # type: ignore[no-untyped-call]
        html, _ = HTMLExporter().from_notebook_node(document)  # type: ignore[no-untyped-call]
        page.write_text(html)
    return executed, page
