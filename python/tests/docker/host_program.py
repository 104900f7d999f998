"""A host process of jupyter_client, for tests that run it in the network of an engine's machine.

Run as ``host_program.py FOLDER INSTANCE``. For each line that it reads it starts one more kernel, has all of
them compute, and prints their sum.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

from kernel_host import Host


async def main(folder, instance):
    """Serve until the end of the input, then shut all kernels down."""
    host = Host(None, Path(folder), "docker-provisioner", instance)
    kernels = []
    async with contextlib.AsyncExitStack() as stack:
        while await asyncio.to_thread(sys.stdin.readline):
            kernels.append(await stack.enter_async_context(host.kernel()))
            outputs = [(await kernel.run("print(1)"))[1] for kernel in kernels]
            print(sum(map(int, outputs)), flush=True)  # noqa: T201 - for the test


asyncio.run(main(*sys.argv[1:]))
