"""The library with which VS Code and JupyterLab use Jupyter servers, in a process of Node.js."""

import asyncio
import contextlib
import itertools
import json
import os

from ci import npm_programs
from ci.paths import ROOT
from timeouts import within_timeout

_SOURCE = ROOT / "ci/jupyterlab_services"


class Services:
    """A running ci/jupyterlab_services/drive.cjs."""

    def __init__(self, process):
        self._process = process
        self._ids = itertools.count()
        self._answers = {}

    async def call(self, command, /, **arguments):
        """Run one of its commands; return the result. Raises RuntimeError with the library's words."""
        return await within_timeout(self.begin(command, **arguments))

    def begin(self, command, /, **arguments):
        """Begin one of its commands; return a future of the result."""
        number = next(self._ids)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        line = {"id": number, "name": command, "arguments": arguments}
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        return answer

    async def read(self):
        """Read the answers, until the process ends."""
        async for line in self._process.stdout:
            answer = json.loads(line)
            future = self._answers.pop(answer["id"])
            if "error" in answer:
                future.set_exception(RuntimeError(answer["error"]))
            else:
                future.set_result(answer["result"])
        for future in self._answers.values():
            future.set_exception(RuntimeError("the process has ended"))


@contextlib.asynccontextmanager
async def jupyterlab_services(url, token):
    """A client of the Jupyter server at this URL."""
    modules = await asyncio.to_thread(npm_programs.packages, _SOURCE)
    process = await asyncio.create_subprocess_exec(
        *(npm_programs.NODE, _SOURCE / "drive.cjs", modules, url),
        env={**os.environ, "TOKEN": token},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    services = Services(process)
    reading = asyncio.create_task(services.read())
    try:
        yield services
    finally:
        process.kill()
        await process.wait()
        await reading
