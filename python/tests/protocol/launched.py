"""A launcher process under test."""

import asyncio
import contextlib
import os
import select
import stat
import subprocess
import sys
from pathlib import Path

from jupyter_client.asynchronous.client import AsyncKernelClient

from timeouts import TIMEOUT_SECONDS, within_timeout

LAUNCHERS = Path(__file__).parents[3] / "launchers"
SCRIPT = LAUNCHERS / "python" / "scripts" / "launch_ipykernel.py"
KERNEL_ID = "2b0f5c0c-0f3e-4a07-8d6f-6b2f6a3c9d10"


class Launched:
    """A launcher's process, until the test ends; its stderr is in a file."""

    def __init__(self, process, stderr):
        self.process = process
        self.stderr = stderr

    async def exit_code(self):
        return await within_timeout(asyncio.to_thread(self.process.wait))

    def kill(self):
        self.process.kill()

    def log(self):
        return self.stderr.read_text()


def environment(**variables):
    """The environment of the tests without a launcher's variables, and with `variables`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KERNEL_", "EG_", "PYTHON")) and name != "JPY_PARENT_PID"
    }
    return {**kept, "RESPONSE_ATTEMPTS": "2", **variables}


@contextlib.contextmanager
def launched(tmp_path, response_address, public_key, *, wrapper=None, arguments=(), **variables):
    """Run the launcher as bootstrap-kernel.sh does."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir(exist_ok=True)
    stderr = tmp_path / "stderr"
    with stderr.open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, *([wrapper] if wrapper else []), SCRIPT),
                *("--kernel-id", KERNEL_ID, "--response-address", response_address),
                *("--public-key", public_key, *arguments),
            ],
            env=environment(
                **{"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), **variables}
            ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield Launched(process, stderr)
    finally:
        process.kill()
        process.wait()


async def has_ended(pid):
    """Wait until a process that is not our child is gone (or a zombie)."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ready, _, _ = await asyncio.to_thread(select.select, [pidfd], [], [], TIMEOUT_SECONDS)
        return bool(ready)
    finally:
        os.close(pidfd)


@contextlib.asynccontextmanager
async def client_of(info):
    """A stock Jupyter client that has talked to the kernel."""
    client = AsyncKernelClient()
    client.load_connection_info({**info, "ip": "127.0.0.1"})
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=TIMEOUT_SECONDS)
        yield client
    finally:
        client.stop_channels()
        client.context.destroy()


async def run(client, code):
    """Execute code; returns the reply's content and what was printed."""
    printed = []

    def output(message):
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    reply = await client.execute_interactive(code, output_hook=output, timeout=TIMEOUT_SECONDS)
    return reply["content"], "".join(printed)


CONNECT = "__import__('socket').create_connection(('127.0.0.1', {port})).close()"


async def start_busy(client, code, connect=CONNECT):
    """Execute code that calls busy() and then does not return; returns the task that waits for it.

    busy() connects to a port: what the code prints may be sent only when it has released the
    interpreter, even if it flushes.
    """
    busy = asyncio.Event()

    def connected(_, writer):
        busy.set()
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        call = connect.format(port=server.sockets[0].getsockname()[1])
        task = asyncio.create_task(run(client, code.replace("busy()", call)))
        await within_timeout(busy.wait())
    return task


async def value(client, expression):
    """Evaluate an expression that prints one line."""
    content, printed = await run(client, f"print(({expression}))")
    assert content["status"] == "ok", content
    return printed.strip()


def permissions(path):
    """Those of a file and of the directory it is in; None if the directory is gone."""
    directory = Path(path).parent
    if not directory.exists():
        return None
    return tuple(stat.S_IMODE(p.stat().st_mode) & 0o777 for p in (Path(path), directory))
