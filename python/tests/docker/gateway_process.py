"""`jupyter-gateway` beside the tests' engine, in a process of its own that ends and starts again."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
from kernel_host import PATIENCE_SECONDS, Host

from ci import images
from cluster.gateway_client import Gateway, Refused
from cluster.patience import patiently, until

TOKEN = "a-token-that-no-log-may-hold"
KERNEL = "test"


class GatewayProcess:
    """One gateway process after the other, with the same settings."""

    def __init__(self, engine, folder, port, provisioner, **environment):
        self.engine = engine
        self.host = Host(engine, folder, provisioner)
        self.state_dir = folder / "state"
        self.log = folder / "gateway.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "JUPYTER_PATH": str(folder),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "DOCKER_HOST": engine.host,
            "GP_ENGINE": "docker",
            "GP_INSTANCE": self.host.instance,
            "GP_STATE_DIR": str(self.state_dir),
            "GP_RESPONSE_IP": engine.host_address,
            "KG_AUTH_TOKEN": TOKEN,
            "KG_PORT": str(port),
            "KG_PORT_RETRIES": "0",
            **environment,
        }
        self._folder = folder
        self._port = port
        self._provisioner = provisioner
        self._process = None
        self.add_kernelspec(KERNEL)

    def add_kernelspec(self, name, **config):
        """Make a kernelspec with this provisioner configuration."""
        config = {"image_name": images.KERNEL_PY.reference, **config}
        spec = {
            "argv": [],
            "display_name": name,
            "language": "python",
            "metadata": {
                "kernel_provisioner": {"provisioner_name": self._provisioner, "config": config}
            },
        }
        place = self._folder / "kernels" / name
        place.mkdir(parents=True)
        (place / "kernel.json").write_text(json.dumps(spec))

    @contextlib.asynccontextmanager
    async def running(self):
        """A client of a new process, when that is ready; the process is left as it is."""
        await self._begin()
        async with Gateway(f"http://127.0.0.1:{self._port}", TOKEN) as client:

            async def is_ready():
                assert self._process.returncode is None, self.log.read_text()
                with contextlib.suppress(aiohttp.ClientError, Refused):
                    return await client.request("GET", "/readyz")

            await patiently(until(is_ready))
            yield client

    async def end(self, number=signal.SIGTERM):
        """Send the process a signal and wait until it is gone."""
        self._process.send_signal(number)
        await asyncio.wait_for(self._process.wait(), PATIENCE_SECONDS)

    async def refusal(self):
        """What a process says that does not start."""
        self.log.write_bytes(b"")
        await self._begin()
        assert await asyncio.wait_for(self._process.wait(), PATIENCE_SECONDS) == 1
        [line] = self.log.read_text().splitlines()
        return line

    def records(self):
        """What is stored, by the kernels' ids."""
        stored = [json.loads(path.read_text()) for path in self.state_dir.iterdir()]
        return {record["content"]["kernel_id"]: record for record in stored}

    async def clean_up(self):
        """End the process and whatever it has left."""
        if self._process is not None and self._process.returncode is None:
            await self.end(signal.SIGKILL)
        self.host.remove_all()
        self.host.wait_gone()

    async def _begin(self):
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                Path(sys.executable).with_name("jupyter-gateway"),
                "--ip=127.0.0.1",
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
