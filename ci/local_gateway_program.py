"""A gateway without an engine: its kernels are processes of this machine.

Run as ``python -m ci.local_gateway_program FOLDER``; prints its two ports once it serves, that of clients and
that of the probes. FOLDER is where Jupyter looks for kernelspecs. These are served: `launched` is started by
the real launcher, with a mailbox; `lying` has a mailbox of a test's own; `local` is a plain local kernel;
`failing` does not start; `fake` is one of the kernels whose connection infos are in the file of the variable
FAKE_KERNELS; `apart` is started by the command of the variable APART, a JSON list, which may lead to another
network. The gateway listens on GATEWAY_IP, and its kernels report to RESPONSE_IP: both are 127.0.0.1 by
default.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, cast

from jupyter_client import localinterfaces
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from ci.paths import ROOT
from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.gateway.app import GatewayApp
from gateway_provisioners.handshake.command_client import CommandEndpoint, send_signal
from gateway_provisioners.handshake.payload import GatewayKey, attempt_name, new_launch_key
from gateway_provisioners.handshake.response_server import ResponseServer
from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.features import GATEWAY_FEATURES
from gateway_provisioners.provisioners.contract import GatewayContract
from gateway_provisioners.provisioners.http_errors import as_http_errors
from gateway_provisioners.provisioners.mailbox import MailboxEndpoint

LAUNCHER = ROOT / "launchers/python/scripts/launch_ipykernel.py"


class Launched(GatewayContract, LocalProvisioner):
    """Starts kernels with the launcher, as in a pod, and so with a mailbox; each restart gets other ports."""

    outlives_process = True
    mailbox: MailboxEndpoint | None = None
    server: ResponseServer

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        kwargs["cmd"] = [sys.executable, LAUNCHER, "--kernel-id", self.kernel_id]
        return kwargs

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        key = new_launch_key()
        address = {
            "RESPONSE_ADDRESS": self.server.response_address,
            "KERNEL_LAUNCH_KEY": key,
            "KERNEL_GATEWAY_FEATURES": ",".join(GATEWAY_FEATURES),
        }
        with self.server.expect(self.kernel_id, key) as expectation:
            environment = {**os.environ, **kwargs["env"], **address}
            # In a session of its own, as in a pod: the bench gives it another priority.
            process = await asyncio.to_thread(
                subprocess.Popen, cmd, env=environment, start_new_session=True
            )
            self.process, self.pid = process, process.pid
            arrival = await expectation.next_arrival()
        return self.connect_to(arrival.connection_info, arrival.secret)

    def connect_to(self, connection: ConnectionInfo, secret: str | None) -> Any:
        """Use the connection info and the key in force that the launcher reported."""
        self.connection = connection
        self.secret = secret
        self.mailbox = MailboxEndpoint.of(connection, secret=secret, kernel_id=self.kernel_id)
        self.connection_info = cast("Any", connection.to_jupyter())
        return self.connection_info

    @property
    def attempt(self) -> str:
        return attempt_name(self.secret, self.kernel_id) if self.secret else ""

    def adopt_from(self, other: Launched) -> None:
        """Take over a kernel that another provisioner started."""
        self.kernel_id, self.process, self.pid = other.kernel_id, other.process, other.pid
        self.connect_to(other.connection, other.secret)


class Apart(Launched):
    """Its launcher may be in another network, and process namespace: signals go through it, as to a pod."""

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        kwargs = await super().pre_launch(**kwargs)
        kwargs["env"] = {
            **kwargs["env"],
            "KERNEL_ID": self.kernel_id,
            "PUBLIC_KEY": self.server.public_key,
        }
        return {**kwargs, "cmd": json.loads(os.environ["APART"])}

    async def send_signal(self, signum: int) -> None:
        if signum == signal.SIGINT:
            ip, port = self.connection.ip, self.connection.comm_port
            await send_signal(CommandEndpoint(ip, port, self.kernel_id, self.secret), signum)
        else:
            await super().send_signal(signum)


class Lying(Launched):
    """Its kernel's mailbox is the port of the variable LYING_MAILBOX_PORT, which may say anything."""

    mailbox = property(
        lambda _self: MailboxEndpoint(int(os.environ["LYING_MAILBOX_PORT"]), b"a key"),
        lambda *_: None,
    )

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        kwargs = await super().pre_launch(**kwargs)
        return {**kwargs, "cmd": [*kwargs["cmd"], "--transport-encryption", "disabled"]}


class Fake(GatewayContract, LocalProvisioner):
    """Connects to a fake kernel (ci.bench.fake_kernels), which is a socket of another process."""

    infos: list[ConnectionInfo]

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        return {**kwargs, "cmd": ["sleep", "infinity"]}

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:  # noqa: ARG002
        self.connection_info = cast("Any", self.infos.pop().to_jupyter())
        self.ends = asyncio.Event()
        return self.connection_info

    @property
    def has_process(self) -> bool:
        return True

    @property
    def is_known_to_live(self) -> bool:
        return not self.ends.is_set()

    async def poll(self) -> int | None:
        return None if self.is_known_to_live else 0

    async def wait(self) -> int | None:
        return 0

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002
        self.ends.set()

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002
        self.ends.set()

    async def send_signal(self, signum: int) -> None:
        """Ignore it."""

    async def cleanup(self, restart: bool = False) -> None:
        """Leave nothing."""


class Failing(GatewayContract, LocalProvisioner):
    """Fails to start kernels; what they have printed is the request's variable KERNEL_LOG."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:  # noqa: ARG002
        error = LaunchFailed("Crashed", "Its container has ended.", container_ran=True)
        error.kernel, error.log = self.kernel_id, kwargs["env"]["KERNEL_LOG"]
        with as_http_errors():
            raise error


_PROVISIONERS: dict[str, type] = {
    "launched": Launched,
    "apart": Apart,
    "lying": Lying,
    "fake": Fake,
    "failing": Failing,
}


def _add_kernelspecs(folder: Path) -> None:
    known = KernelProvisionerFactory.instance().provisioners
    for name in ("local", *_PROVISIONERS):
        provisioner = name if name in _PROVISIONERS else "local-provisioner"
        (folder / name).mkdir(parents=True)
        spec = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": name,
            "language": "python",
            "metadata": {"kernel_provisioner": {"provisioner_name": provisioner}},
        }
        (folder / name / "kernel.json").write_text(json.dumps(spec))
    for name, provisioner_class in _PROVISIONERS.items():
        value = f"ci.local_gateway_program:{provisioner_class.__name__}"
        known[name] = EntryPoint(name, value, KernelProvisionerFactory.GROUP_NAME)


async def _serve() -> None:
    # A loopback address that only this process uses: a port of 127.0.0.1 that jupyter_client found free may
    # be taken when the kernel binds it.
    address = f"127.1.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    localinterfaces.is_local_ip(address)
    localinterfaces.local_ips().append(address)
    response_ip = os.environ.get("RESPONSE_IP", "127.0.0.1")
    Launched.server = ResponseServer(response_ip, 0, 0, GatewayKey.generate())
    await Launched.server.start()
    if fake_kernels := os.environ.get("FAKE_KERNELS"):
        infos = json.loads(Path(fake_kernels).read_text())  # noqa: ASYNC240 - before it serves
        Fake.infos = [ConnectionInfo.from_json(info) for info in infos]
    app = GatewayApp(ip=os.environ.get("GATEWAY_IP", "127.0.0.1"), port=0, health_port=0)
    app.initialize([])
    app.prepare_process()
    app.shutdown_kernels_on_exit = True
    app.config.KernelManager.ip = address
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.request_stop)
    serving = asyncio.create_task(app.serve())
    serves = asyncio.create_task(app.serving.wait())
    await asyncio.wait({serving, serves}, return_when=asyncio.FIRST_COMPLETED)
    if serves.done():
        sys.stdout.write(f"{app.port} {app.health_port}\n")
        sys.stdout.flush()
    await serving


def main(folder: str) -> None:
    """Serve until SIGTERM."""
    _add_kernelspecs(Path(folder))
    asyncio.run(_serve())


if __name__ == "__main__":
    # Not this copy of the module, but the one that the entry points name.
    importlib.import_module("ci.local_gateway_program").main(*sys.argv[1:])
