"""Stand-ins for provisioners of remote kernels, whose kernels are processes of this machine."""

from __future__ import annotations

import asyncio
import signal

from jupyter_client.provisioning import LocalProvisioner
from tornado import web

from ci.local_gateway_program import Launched
from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.provisioners.contract import GatewayContract
from gateway_provisioners.provisioners.http_errors import as_http_errors
from gateway_provisioners.provisioners.launch_script import run_launch_script

IMAGE_MISSING = LaunchFailed(
    "ImagePull", "Kernel 'x' did not start: its image acme/x:1 is nowhere."
)


class Moving(LocalProvisioner):
    """Each restart gets other ports and another key, as with a pod."""

    async def cleanup(self, restart=False):
        if restart:
            await super().cleanup(restart=False)
            self.ports_cached = False
            self.parent.cleanup_random_ports()
            self.parent.session.key = b"a-key-of-the-new-kernel-" + str(id(object())).encode()
        else:
            await super().cleanup(restart=restart)


class Lasting(GatewayContract, LocalProvisioner):
    """A later gateway could find its kernels."""

    outlives_process = True


class LaunchedSlowly(Launched):
    """A restarted kernel is alive for a while before its address and keys are known; no mailbox."""

    mailbox = property(lambda _self: None, lambda _self, _endpoint: None)
    launches = 0
    lives: asyncio.Event
    go_on: asyncio.Event

    async def launch_kernel(self, cmd, **kwargs):
        info = await super().launch_kernel(cmd, **kwargs)
        self.launches += 1
        if self.launches > 1:
            LaunchedSlowly.lives.set()
            await LaunchedSlowly.go_on.wait()
        return info


class Failing(LocalProvisioner):
    """Fails to start kernels, with the errors of our provisioners."""

    async def launch_kernel(self, cmd, **kwargs):
        raise web.HTTPError(IMAGE_MISSING.http_status, str(IMAGE_MISSING)) from IMAGE_MISSING


class FailingLater(LocalProvisioner):
    """Starts a kernel once, and fails from then on."""

    launches = 0

    async def launch_kernel(self, cmd, **kwargs):
        self.launches += 1
        if self.launches > 1:
            raise web.HTTPError(IMAGE_MISSING.http_status, str(IMAGE_MISSING)) from IMAGE_MISSING
        return await super().launch_kernel(cmd, **kwargs)


class Evicted(GatewayContract, FailingLater):
    """As after an eviction, which its provisioner knows of; it cannot be restarted."""

    is_known_to_live = True
    end_cause = "It was evicted."


class Slow(LocalProvisioner):
    """Starts when the test says so, or never."""

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
    """Fails to clean up after its kernel the first time."""

    attempts = 0

    async def cleanup(self, restart=False):
        self.attempts += 1
        if self.attempts == 1:
            raise LaunchFailed("Cluster", "The cluster did not answer.")
        await super().cleanup(restart=restart)

    async def send_signal(self, signum):
        if self.attempts or signum == signal.SIGINT:
            await super().send_signal(signum)


class Scripted(LocalProvisioner):
    """Runs the kernelspec's argv as a launch script."""

    async def launch_kernel(self, cmd, **kwargs):
        with as_http_errors():
            await run_launch_script(cmd, {}, {"KERNEL_ID": self.kernel_id})
