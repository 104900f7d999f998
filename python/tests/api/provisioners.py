"""Stand-ins for provisioners of remote kernels, whose kernels are processes of this machine."""

from __future__ import annotations

import asyncio
import signal

from jupyter_client.provisioning import LocalProvisioner
from tornado import web

from ci.local_gateway_program import Launched
from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.handshake.command_client import CommandEndpoint
from gateway_provisioners.model.launch_progress import Phase, Stage
from gateway_provisioners.model.usage import Usage
from gateway_provisioners.model.workload_details import WorkloadDetails
from gateway_provisioners.provisioners.contract import GatewayContract
from gateway_provisioners.provisioners.http_errors import as_http_errors
from gateway_provisioners.provisioners.launch_script import run_launch_script
from gateway_provisioners.provisioners.usage_reader import UsageReader

IMAGE_MISSING = LaunchFailed("ImagePull", "The image acme/x:1 is nowhere: see its name.")


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


class Measured(Launched):
    """Its node, image and limits are known, and its launcher is asked what it uses."""

    details = WorkloadDetails("node-1", "acme/kernel:1", {"cpu": "2", "memory": "2Gi"})
    workload_name = "pod-1"

    async def usage(self):
        ip, port = self.connection.ip, self.connection.comm_port
        endpoint = CommandEndpoint(ip, port, self.kernel_id, self.secret)
        return await UsageReader(asyncio.Semaphore(1)).read(endpoint)


class NearlyFull(Measured):
    """Uses 1.9 GiB of 2 GiB."""

    memory_advice = "For more memory, ask the administrator."
    questions = 0

    async def usage(self):
        NearlyFull.questions += 1
        return Usage(2**31 * 96 // 100, 2**31, 1.0, None)


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


class FailingAs(LocalProvisioner):
    """Fails to start kernels with the error that the test chooses, and counts the attempts."""

    error: LaunchFailed
    attempts: int

    async def launch_kernel(self, cmd, **kwargs):
        FailingAs.attempts += 1
        with as_http_errors():
            raise FailingAs.error


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


class Pulling(Slow):
    """The same, and its progress shows that an image is pulled meanwhile."""

    async def launch_kernel(self, cmd, **kwargs):
        self.parent.progress.enter(
            Stage(Phase.PULLING, "The node is pulling the image 'acme/x:1'.")
        )
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
