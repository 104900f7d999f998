"""A host process of jupyter_client: bare kernel managers without a gateway, on the tests' engine."""

import asyncio
import contextlib
import json
import time
import uuid

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from tornado import web

from ci import images
from ci.private_engine import ASK_SECONDS
from message_words import unwrapped
from timeouts import TIMEOUT_SECONDS

# The arguments of `hosts` for everything that kernels run in; podman has no services.
EVERY_ENGINE = {
    "docker-provisioner": ("docker-provisioner", "engine"),
    "docker-swarm-provisioner": ("docker-swarm-provisioner", "engine"),
    "podman": ("docker-provisioner", "podman"),
}


class Kernel:
    """One kernel and the client that talks to it."""

    def __init__(self, manager):
        self.manager = manager
        self.client = None

    async def connect(self):
        if self.client is not None:
            self.client.stop_channels()
        self.client = self.manager.client()
        self.client.start_channels()
        await self.client.wait_for_ready(timeout=TIMEOUT_SECONDS)

    async def run(self, code, on_output=None):
        """The reply to `code`, and what it printed; calls `on_output` when it prints."""
        printed = []

        async def hook(message):
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])
                if on_output is not None:
                    await on_output()

        def output(message):
            tasks.append(asyncio.ensure_future(hook(message)))

        tasks = []
        reply = await self.client.execute_interactive(
            code, output_hook=output, timeout=TIMEOUT_SECONDS
        )
        await asyncio.gather(*tasks)
        return reply["content"], "".join(printed)


class Host:
    """A process that starts kernels of specs that it makes."""

    def __init__(self, engine, folder, provisioner, instance=""):
        self.engine = engine
        self.instance = instance or f"gp-test-{uuid.uuid4().hex[:8]}"
        self._specs = KernelSpecManager(kernel_dirs=[str(folder)])
        self.folder = folder
        self.provisioner = provisioner
        self.is_swarm = "swarm" in provisioner

    def manager(self, name="test", **config):
        """A manager of a kernel with this provisioner configuration."""
        config = {"image_name": images.KERNEL_PY.reference, **config}
        spec = {
            "argv": [],
            "display_name": name,
            "language": "python",
            "metadata": {
                "kernel_provisioner": {"provisioner_name": self.provisioner, "config": config}
            },
        }
        (self.folder / name).mkdir(exist_ok=True)
        (self.folder / name / "kernel.json").write_text(json.dumps(spec))
        return AsyncKernelManager(kernel_name=name, kernel_spec_manager=self._specs)

    @contextlib.asynccontextmanager
    async def kernel(self, *, env=None, **config):
        async with self.running(self.manager(**config), env=env) as kernel:
            yield kernel

    @contextlib.asynccontextmanager
    async def running(self, manager, *, env=None):
        """The kernel of a manager, from its start to its end."""
        await manager.start_kernel(env=env or {})
        kernel = Kernel(manager)
        try:
            await kernel.connect()
            yield kernel
        finally:
            if kernel.client is not None:
                kernel.client.stop_channels()
            await manager.shutdown_kernel(now=True)

    async def refusal(self, *, env=None, **config):
        """The error message of a kernel that does not start."""
        with pytest.raises(web.HTTPError) as refusal:
            await self.manager(**config).start_kernel(env=env or {})
        return unwrapped(refusal.value.log_message)

    def command(self, *arguments):
        """A patch that has the container run something else."""
        if self.is_swarm:
            return {"TaskTemplate": {"ContainerSpec": {"Command": list(arguments)}}}
        return {"Entrypoint": list(arguments[:1]), "Cmd": list(arguments[1:])}

    def containers(self):
        """All containers of this host's kernels, as `docker inspect` shows them."""
        names = self._found("ps", "--all")
        return json.loads(self.engine.cli("inspect", *names)) if names else []

    def services(self):
        """All their services and secrets, likewise."""
        found = [*self._found("service", "ls"), *self._found("secret", "ls")]
        return json.loads(self.engine.cli("inspect", *found)) if found else []

    def wait_gone(self):
        """Return when nothing is left; a service's container goes a moment after it."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while left := self.left():
            assert time.monotonic() < deadline, left
            time.sleep(ASK_SECONDS)

    def left(self):
        """Return what this host's kernels have left on the engine."""
        kinds = [("ps", "--all")]
        if self.is_swarm:
            kinds += [("service", "ls"), ("secret", "ls")]
        return [name for kind in kinds for name in self._found(*kind)]

    def _found(self, *command):
        label = f"label=gateway-provisioners.instance={self.instance}"
        return self.engine.cli(*command, "--quiet", "--filter", label).split()
