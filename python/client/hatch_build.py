"""Puts the prebuilt extension of JupyterLab into the wheel, if ci/labextension.py has built it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILT = "gateway_provisioners_client/labextension"
_PLACE = "share/jupyter/labextensions/gateway-provisioners-client"


class LabExtensionHook(BuildHookInterface[Any]):
    """Adds the extension to wheels; `ci/package.py` makes sure that those of a release have it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add it, but not to an editable installation: what was copied there would be out of date soon."""
        if version == "editable":
            return
        folder = Path(self.root, _BUILT)
        if not folder.is_dir():
            return
        # Says in JupyterLab's extension manager how to remove it.
        build_data["shared_data"][str(Path(self.root, "install.json"))] = f"{_PLACE}/install.json"
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if path.is_file() and not any(part.startswith(".") for part in relative.parts):
                build_data["shared_data"][str(path)] = f"{_PLACE}/{relative.as_posix()}"
