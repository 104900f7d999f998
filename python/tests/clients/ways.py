"""The three ways in which a JupyterLab uses the kernels of a gateway."""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

from lab import Client

from ci.gateway_access import jupyter_server
from ci.gateway_client import Gateway
from programs import program

STOCK = "stock"  # gateway mode, as jupyter_server has it
PACKAGE = "package"  # gateway mode, with gateway-provisioners-client
KERNELSPECS = "kernelspecs"  # local kernelspecs, which that package has installed
WAYS = (STOCK, PACKAGE, KERNELSPECS)


class Way:
    """JupyterLabs that use one gateway in one way.

    Args:
        folder: where kernelspecs are installed.
    """

    def __init__(self, name, url, token, folder, browser):
        self.name = name
        self._url = url
        self._token = token
        self._folder = folder
        self._browser = browser
        self._kernels = {}

    async def install(self):
        """Install what this way needs beside the packages."""
        if self.name == KERNELSPECS:
            self._kernels = await install_kernelspecs(self._url, self._token, self._folder)

    async def gateway_kernels(self):
        """Return the ids of the kernels that run at the gateway."""
        async with Gateway(self._url, self._token) as gateway:
            return list(await gateway.kernels())

    @contextlib.asynccontextmanager
    async def through(self, url):
        """A client of a new JupyterLab server that reaches the gateway at another address."""
        way = Way(self.name, url, self._token, self._folder / "through", self._browser)
        await way.install()
        async with way.jupyterlab() as lab:
            yield lab

    @contextlib.asynccontextmanager
    async def jupyterlab(self):
        """A client of a new JupyterLab server."""
        gateway = self._url if self.name != KERNELSPECS else ""
        server = jupyter_server(
            gateway,
            self._token,
            program="jupyterlab",
            extended=self.name != STOCK,
            environment=environment(self._folder),
        )
        # The gateway may be reached through this loop.
        url = await asyncio.to_thread(server.__enter__)
        try:
            yield Client(url, self._browser, suffix=f"-{self.name}", kernels=self._kernels)
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)


async def install_kernelspecs(url, token, folder, *options):
    """Install a gateway's kernels as kernelspecs in a folder; return their names by the gateway's."""
    command = Path(sys.executable).with_name("jupyter-gateway-spec")
    variables = {**environment(folder), "JUPYTER_GATEWAY_AUTH_TOKEN": token}
    installing = ("install", "--url", url, "--prefix", folder, *options)
    await program(command, *installing, **variables)
    listed = json.loads(await program(command, "list", "--json", **variables))
    return {spec["kernel"]: spec["name"] for spec in listed}


def environment(folder):
    """Return the variables with which Jupyter finds the kernelspecs of a folder."""
    path = [str(folder / "share/jupyter"), os.environ.get("JUPYTER_PATH", "")]
    return {"JUPYTER_PATH": os.pathsep.join(filter(None, path))}
