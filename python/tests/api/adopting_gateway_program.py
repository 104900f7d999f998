"""A gateway that serves one kernel of another gateway, as a program that a test can kill.

Run as ``python -m api.adopting_gateway_program`` in python/tests; it reads the kernel from the first line of
its input, and prints its port.
"""

import asyncio
import json
import signal
import sys
from importlib.metadata import EntryPoint

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from api.provisioners import Launched
from api.running import running_gateway
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.ownership import Ownership


def kernel_of(provisioner):
    """Return what this program reads, as a line: a kernel that runs, with its secrets."""
    spec = provisioner.kernel_spec
    return json.dumps(
        {
            "id": provisioner.kernel_id,
            "pid": provisioner.pid,
            "spec": {**spec.to_dict(), "metadata": spec.metadata},
            "connection": provisioner.connection.to_json(),
            "secret": provisioner.secret,
        }
    )


class Adopted(Launched):
    """A kernel that is a process of another program: its end is not noticed."""

    has_process = True

    async def poll(self):
        return None

    async def wait(self):
        return None

    async def send_signal(self, signum):
        """Leave the kernel as it is."""


async def serve(kernel):
    """Serve a kernel until the program is killed."""
    factory = KernelProvisionerFactory.instance()
    module = "api.adopting_gateway_program:Adopted"
    factory.provisioners["launched"] = EntryPoint("launched", module, factory.GROUP_NAME)
    spec = KernelSpec(**kernel["spec"])

    async def restore(provisioner):
        provisioner.kernel_id = kernel["id"]
        provisioner.connect_to(ConnectionInfo.from_json(kernel["connection"]), kernel["secret"])

    async with running_gateway() as gateway:
        await gateway.app.kernel_manager.adopt(
            kernel_id=kernel["id"],
            kernel_name="launched",
            kernel_spec=spec,
            env={},
            last_activity="",
            started="",
            ownership=Ownership(),
            restore=restore,
        )
        sys.stdout.write(f"{gateway.app.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve(json.loads(sys.stdin.readline())))
