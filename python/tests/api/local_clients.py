"""Jupyter clients of this machine, with kernelspecs of a gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from api.running import TOKEN
from timeouts import TIMEOUT_SECONDS, within_timeout

TOKEN_VARIABLE = "TOKEN_OF_THE_GATEWAY"


def write_spec(folder, url, kernel="python3", *options):
    """Write a kernelspec `remote` as `jupyter gateway-spec install` does."""
    spec = folder / "kernels" / "remote"
    spec.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "gateway_provisioners_client.kernel", "{connection_file}"]
    argv += [f"--kernel={kernel}", f"--url={url}", f"--token-variable={TOKEN_VARIABLE}", *options]
    content = {
        "argv": argv,
        "display_name": "Remote",
        "language": "python",
        "interrupt_mode": "message",
    }
    (spec / "kernel.json").write_text(json.dumps(content))
    return KernelSpecManager(kernel_dirs=[str(folder / "kernels")])


def environment(folder, **variables):
    return {
        **os.environ,
        TOKEN_VARIABLE: TOKEN,
        "JUPYTER_DATA_DIR": str(folder / "data"),
        **variables,
    }


class LocalKernel:
    """A kernel of this machine, for a client of it."""

    def __init__(self, manager, client):
        self.manager = manager
        self.client = client

    @property
    def connection_file(self):
        return self.manager.connection_file

    def state(self):
        return json.loads(Path(self.connection_file + ".gateway.json").read_text())

    def has_state(self):
        return Path(self.connection_file + ".gateway.json").exists()

    async def run(self, code, **options):
        """Run a cell; return its reply and its outputs."""
        outputs = []
        reply = await within_timeout(
            self.client.execute_interactive(
                code, output_hook=outputs.append, allow_stdin=False, **options
            )
        )
        return reply["content"], [each["content"] for each in outputs if _is_output(each)]

    async def begin(self, code):
        """Begin a cell; return once it has printed, with the task that returns all that it prints."""
        printed = asyncio.Event()
        messages = []

        def hook(message):
            messages.append(message)
            if message["msg_type"] == "stream":
                printed.set()

        async def run():
            reply = await self.client.execute_interactive(code, output_hook=hook, allow_stdin=False)
            texts = [each["content"].get("text", "") for each in messages if _is_output(each)]
            return reply["content"], "".join(texts)

        task = asyncio.create_task(run())
        await within_timeout(printed.wait())
        return task

    @contextlib.asynccontextmanager
    async def other_client(self, **changes):
        """Connect another program, with the same connection file."""
        client = AsyncKernelClient()
        client.load_connection_file(self.connection_file)
        for name, value in changes.items():
            setattr(client.session, name, value)
        client.start_channels()
        try:
            yield client
        finally:
            client.stop_channels()

    async def text(self, code):
        """Run a cell; return all that it printed, on stdout and on stderr."""
        _, outputs = await self.run(code)
        return "".join(each.get("text", "") for each in outputs)


def _is_output(message):
    return message["header"]["msg_type"] in (
        "stream",
        "display_data",
        "execute_result",
        "error",
        "comm_open",
    )


@contextlib.asynccontextmanager
async def local_kernel(folder, url, kernel="python3", *options, **variables):
    """Start a kernel of the gateway as a client does that knows nothing of it."""
    specs = write_spec(folder, url, kernel, *options)
    manager = AsyncKernelManager(
        kernel_name="remote",
        kernel_spec_manager=specs,
        connection_file=str(folder / "connection.json"),
    )
    await manager.start_kernel(env=environment(folder, **variables))
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=TIMEOUT_SECONDS)
        yield LocalKernel(manager, client)
    finally:
        client.stop_channels()
        if manager.has_kernel:
            await manager.shutdown_kernel(now=True)
