"""bootstrap-kernel.sh in an image's /usr/local/bin, and kernels that it starts."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

from launched import KERNEL_ID, LAUNCHERS, client_of, environment

from gateway_provisioners.handshake.payload import new_launch_key
from timeouts import TIMEOUT_SECONDS, within_timeout

SYSTEM = "/usr/bin:/bin"


def bootstrap(image, wrapper=(), *, path=SYSTEM, output=subprocess.PIPE, **variables):
    """Start the script below the command `wrapper`; a variable that is None is left out."""
    given = {"KERNEL_LANGUAGE": "python", "KERNEL_ID": KERNEL_ID, **variables}
    return subprocess.Popen(
        [*wrapper, image / "bootstrap-kernel.sh"],
        env={
            name: text
            for name, text in {**environment(), **given, "PATH": path}.items()
            if text is not None
        },
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        text=True,
        cwd=image,
    )


def outcome(process):
    """Wait for its end; gives the exit code and what it printed."""
    stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    return process.returncode, stdout, stderr


def as_another_user(passwd, uid=1000970000, gid=0):
    """A command that runs another as an id that only the file `passwd` may know, without root's rights."""
    inner = ("unshare", "--user", f"--map-user={uid}", f"--map-group={gid}", "--")
    bind = 'mount --bind "$1" /etc/passwd && shift && exec "$@"'
    outer = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", bind, "sh", str(passwd))
    return (*outer, *inner)


class Failed(Exception):
    """The launcher ended before it reported: its exit code, and what it printed."""


class Started:
    """A kernel that the script has started, with a client."""

    def __init__(self, process, log, info):
        self.process = process
        self.info = info
        self.client = None
        self._log = log

    def log(self):
        return self._log.read_text(errors="replace")

    async def exit_code(self):
        return await within_timeout(asyncio.to_thread(self.process.wait))


@contextlib.asynccontextmanager
async def kernel_of(image, server, wrapper=(), *, path=None, **variables):
    """Start a Python kernel with the script, and be its client."""
    target = image / "kernel-launchers" / "python"
    if not target.exists():
        shutil.copytree(LAUNCHERS / "python", target)
    key = new_launch_key()
    log = image.parent / "log"
    with server.expect(KERNEL_ID, key) as expectation, log.open("wb") as output:
        process = bootstrap(
            image,
            wrapper,
            path=path or f"{Path(sys.executable).parent}:{SYSTEM}",
            output=output,
            **{
                "RESPONSE_ADDRESS": server.response_address,
                "PUBLIC_KEY": server.public_key,
                "KERNEL_LAUNCH_KEY": key,
                **variables,
            },
        )
        ended = asyncio.create_task(asyncio.to_thread(process.wait))
        arrival = asyncio.create_task(expectation.next_arrival())
        try:
            await asyncio.wait({arrival, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not arrival.done():
                raise Failed(process.returncode, log.read_text(errors="replace"))
            started = Started(process, log, arrival.result().connection_info)
            async with client_of(started.info.to_jupyter()) as started.client:
                yield started
            assert key not in started.log()
            assert started.info.key not in started.log()
        finally:
            arrival.cancel()
            process.kill()
            await ended
