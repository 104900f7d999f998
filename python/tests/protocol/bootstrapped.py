"""bootstrap-kernel.sh in an image's /usr/local/bin, and kernels that it starts."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

from launched import KERNEL_ID, LAUNCHERS, client_of, environment

from gateway_provisioners.handshake.payload import new_launch_key
from timeouts import TIMEOUT_SECONDS

SYSTEM = "/usr/bin:/bin"


def bootstrap(image, wrapper=(), *, path=SYSTEM, **variables):
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
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
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


@contextlib.asynccontextmanager
async def kernel_of(image, server, wrapper=(), *, path=None, **variables):
    """A client of the kernel that the script starts, its process and its connection info."""
    target = image / "kernel-launchers" / "python"
    if not target.exists():
        shutil.copytree(LAUNCHERS / "python", target)
    key = new_launch_key()
    with server.expect(KERNEL_ID, key) as expectation:
        process = bootstrap(
            image,
            wrapper,
            path=path or f"{Path(sys.executable).parent}:{SYSTEM}",
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
            assert arrival.done(), process.communicate()
            info = arrival.result().connection_info
            async with client_of(info.to_jupyter()) as client:
                yield client, process, info
        finally:
            arrival.cancel()
            process.kill()
            process.communicate()
            await ended
