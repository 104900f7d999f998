"""The extension of a Jupyter server: gateway mode mended, and the HTTP API of the JupyterLab extension.

jupyter_server is imported only by the modules of this package, and only when a server loads them.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Return the modules to load; a Jupyter server calls it when it starts."""
    return [{"module": __name__}]


def _link_jupyter_server_extension(serverapp: Any) -> None:
    """Prepare the server's classes; a Jupyter server calls it before it makes its managers."""
    from gateway_provisioners_client.server import extension

    extension.link(serverapp)


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Add the handlers; a Jupyter server calls it once its web application exists."""
    from gateway_provisioners_client.server import extension

    extension.load(serverapp)
