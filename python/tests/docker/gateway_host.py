"""A `jupyter-gateway` beside the tests' engine, whose kernels outlive it."""

import asyncio
import contextlib
import os
import shutil
import sys
from pathlib import Path

from ci.gateway_client import Gateway

TOKEN = "a-token-that-no-log-may-hold"
TESTS = Path(__file__).parents[1]


class GatewayHost:
    """Starts one process after the other on the same folders.

    Args:
        host: the host of the kernels; the kernelspec is `test`.
        config: the configuration of its provisioner.
    """

    def __init__(self, host, folder, port, health_port, **config):
        self.state = folder / "state"
        self.crash_at = folder / "crash-at"
        self.process = None
        self.log = folder / "log"
        self._port = port
        self._health_port = health_port
        # A kernelspec of the host's, where a gateway looks for it.
        host.manager("test", **config)
        kernels = folder / "jupyter" / "kernels"
        kernels.mkdir(parents=True)
        shutil.copytree(host.folder / "test", kernels / "test")
        sitecustomize = folder / "site"
        sitecustomize.mkdir()
        shutil.copy(TESTS / "crash_at.py", sitecustomize / "sitecustomize.py")
        self._environment = {
            **os.environ,
            "CRASH_AT": str(self.crash_at),
            "GP_CLIENT_ENVS": "GREETING",
            "GP_ENGINE": "docker",
            "GP_STATE_DIR": str(self.state),
            "JUPYTER_PATH": str(folder / "jupyter"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "KG_AUTH_TOKEN": TOKEN,
            "KG_PORT": str(port),
            "KG_HEALTH_PORT": str(health_port),
            "KG_PORT_RETRIES": "0",
            "PYTHONPATH": str(sitecustomize),
        }

    @contextlib.asynccontextmanager
    async def running(self, **environment):
        """A client of a process that serves; the process is killed if it has not ended."""
        self.process = await self.spawn(**environment)
        try:
            async with (
                Gateway(f"http://127.0.0.1:{self._port}", TOKEN) as client,
                Gateway(f"http://127.0.0.1:{self._health_port}", "") as probes,
            ):
                await self._wait_ready(probes)
                yield client
        finally:
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()

    async def spawn(self, **environment):
        """A new process."""
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                Path(sys.executable).with_name("jupyter-gateway"),
                "--ip=127.0.0.1",
                env={**self._environment, **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def end(self, signum):
        self.process.send_signal(signum)
        await self.process.wait()

    async def _wait_ready(self, probes):
        while True:
            with contextlib.suppress(OSError):
                await probes.request("GET", "/readyz")
                return
            assert self.process.returncode is None, self.log.read_text()
            await asyncio.sleep(0.05)
