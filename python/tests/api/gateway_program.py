"""A gateway in a process of its own, with kernels of the real launcher on this machine: for its memory.

Run as `python -m api.gateway_program PORT HEALTH_PORT`; it prints a line once it serves. The kernelspec
`launched` has a mailbox; `local` is a plain local kernel, without one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

from jupyter_client import localinterfaces
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from api.provisioners import Launched
from gateway_provisioners.gateway.app import GatewayApp
from gateway_provisioners.handshake.payload import GatewayKey
from gateway_provisioners.handshake.response_server import ResponseServer


def _kernelspecs(folder: Path) -> None:
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    for name, provisioner in (("local", "local-provisioner"), ("launched", "launched")):
        (folder / name).mkdir(parents=True)
        spec = {
            "argv": argv,
            "display_name": name,
            "language": "python",
            "metadata": {"kernel_provisioner": {"provisioner_name": provisioner}},
        }
        (folder / name / "kernel.json").write_text(json.dumps(spec))


async def main(port: int, health_port: int) -> None:
    """Serve until SIGTERM."""
    address = f"127.1.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    localinterfaces.is_local_ip(address)
    localinterfaces.local_ips().append(address)
    entry_point = EntryPoint(
        "launched", "api.provisioners:Launched", KernelProvisionerFactory.GROUP_NAME
    )
    KernelProvisionerFactory.provisioners = {
        **KernelProvisionerFactory.instance().provisioners,
        "launched": entry_point,
    }
    KernelProvisionerFactory.instance().provisioners["launched"] = entry_point
    server = ResponseServer("127.0.0.1", 0, 0, GatewayKey.generate())
    await server.start()
    Launched.server = server
    app = GatewayApp(ip="127.0.0.1", port=port, health_port=health_port, port_retries=0)
    app.initialize([])
    app.prepare_process()
    app.shutdown_kernels_on_exit = True
    app.config.KernelManager.ip = address
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(15, app.request_stop)
    serving = asyncio.create_task(app.serve())
    await app.serving.wait()
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    await serving


if __name__ == "__main__":
    _kernelspecs(Path(os.environ["JUPYTER_DATA_DIR"]) / "kernels")
    asyncio.run(main(*map(int, sys.argv[1:])))
