"""The papermill engine `gateway`: `papermill --engine gateway in.ipynb out.ipynb`."""

from __future__ import annotations

from typing import Any

from papermill.engines import NBClientEngine  # type: ignore[import-untyped]

from gateway_provisioners_client.notebooks.kernel_manager import GatewayKernelManager


class GatewayEngine(NBClientEngine):  # type: ignore[misc] # papermill is not typed
    """Executes a notebook on a kernel of the gateway that JUPYTER_GATEWAY_URL names.

    papermill calls it for `--engine gateway`; it finds it by the entry point of that name.
    """

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
        """Execute the notebook; errors of its cells are papermill's own, as with its other engines."""
        kwargs.setdefault("kernel_manager_class", GatewayKernelManager)
        return super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
