"""Stand-ins for provisioners of remote kernels: the kernel is a process of this host all the same."""

from __future__ import annotations

import asyncio
import signal

from jupyter_client.provisioning import LocalProvisioner
from tornado import web

from gateway_provisioners.errors import LaunchFailed

IMAGE_MISSING = LaunchFailed(
    "ImagePull", "Kernel 'x' did not start: its image acme/x:1 is nowhere."
)


class Moving(LocalProvisioner):
    """Each restart is somewhere else, as that of a pod is."""

    async def cleanup(self, restart=False):
        if restart:
            await super().cleanup(restart=False)
            self.ports_cached = False
            self.parent.cleanup_random_ports()
            self.parent.session.key = b"a-key-of-the-new-kernel-" + str(id(object())).encode()
        else:
            await super().cleanup(restart=restart)


class Lasting(LocalProvisioner):
    """A later gateway could find its kernels again."""

    outlives_host = True


class Failing(LocalProvisioner):
    """Cannot start kernels, and says so as our provisioners do."""

    async def launch_kernel(self, cmd, **kwargs):
        raise web.HTTPError(IMAGE_MISSING.http_status, str(IMAGE_MISSING)) from IMAGE_MISSING


class FailingLater(LocalProvisioner):
    """Starts a kernel once, and never again."""

    launches = 0

    async def launch_kernel(self, cmd, **kwargs):
        self.launches += 1
        if self.launches > 1:
            raise web.HTTPError(IMAGE_MISSING.http_status, str(IMAGE_MISSING)) from IMAGE_MISSING
        return await super().launch_kernel(cmd, **kwargs)


class Slow(LocalProvisioner):
    """Takes until the test says so, or for ever."""

    launching: asyncio.Event
    go_on: asyncio.Event
    abandoned: bool

    async def launch_kernel(self, cmd, **kwargs):
        Slow.launching.set()
        try:
            await Slow.go_on.wait()
        except asyncio.CancelledError:
            Slow.abandoned = True
            raise
        return await super().launch_kernel(cmd, **kwargs)


class Unkillable(LocalProvisioner):
    """Fails to end its kernel the first time."""

    attempts = 0

    async def cleanup(self, restart=False):
        self.attempts += 1
        if self.attempts == 1:
            raise LaunchFailed("Cluster", "The cluster did not answer.")
        await super().cleanup(restart=restart)

    async def send_signal(self, signum):
        if self.attempts or signum == signal.SIGINT:
            await super().send_signal(signum)
