"""A process that plays many kernels: it answers their channels and runs nothing.

Run as ``python -m ci.bench.fake_kernels --ip ADDRESS --count NUMBER``: prints the kernels' connection infos
as one line of JSON and serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.session import Session

from ci.commands import CommandError
from gateway_provisioners.model.connection_info import ConnectionInfo

_KERNEL_INFO = {
    "status": "ok",
    "protocol_version": "5.3",
    "implementation": "fake",
    "implementation_version": "1",
    "language_info": {"name": "python", "version": "3"},
    "banner": "",
}


class _FakeKernels:
    """Fake kernels: each has shell and IOPub, encrypted; one unused socket stands for all other channels."""

    def __init__(self, ip: str, count: int) -> None:
        self._ip = ip
        self._key = secrets.token_hex(16)
        self._session = Session(key=self._key.encode())
        self._public, self._secret = zmq.curve_keypair()
        self._context = zmq.asyncio.Context()
        self._context.set(zmq.MAX_SOCKETS, 2 * count + 100)
        self._unused, self._unused_port = self._bound(zmq.ROUTER)

    def _bound(self, kind: int) -> tuple[zmq.asyncio.Socket, int]:
        socket = self._context.socket(kind)
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = self._public, self._secret
        return socket, socket.bind_to_random_port(f"tcp://{self._ip}")

    def add(self) -> tuple[ConnectionInfo, asyncio.Task[None]]:
        """Add one kernel."""
        shell, shell_port = self._bound(zmq.ROUTER)
        iopub, iopub_port = self._bound(zmq.PUB)
        info = ConnectionInfo(
            ip=self._ip,
            shell_port=shell_port,
            iopub_port=iopub_port,
            stdin_port=self._unused_port,
            control_port=self._unused_port,
            hb_port=self._unused_port,
            comm_port=self._unused_port,
            key=self._key,
            curve_publickey=self._public.decode(),
            curve_secretkey=self._secret.decode(),
            protocol=2,
        )
        return info, asyncio.create_task(self._serve(shell, iopub))

    async def _serve(self, shell: zmq.asyncio.Socket, iopub: zmq.asyncio.Socket) -> None:
        def publish(state: str, parent: dict[str, Any]) -> None:
            content = {"execution_state": state}
            self._session.send(iopub, "status", content, parent=parent, ident=b"status")

        while True:
            identities, frames = self._session.feed_identities(await shell.recv_multipart())
            request = self._session.deserialize(frames)
            publish("busy", request)
            if request["msg_type"] == "kernel_info_request":
                self._session.send(
                    shell, "kernel_info_reply", _KERNEL_INFO, parent=request, ident=identities
                )
            publish("idle", request)


async def _serve(ip: str, count: int) -> None:
    fake_kernels = _FakeKernels(ip, count)
    added = [fake_kernels.add() for _ in range(count)]
    print(json.dumps([info.to_json() for info, _ in added]), flush=True)
    end = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait([end, *(task for _, task in added)], return_when=asyncio.FIRST_COMPLETED)
    for _, task in added:
        if task.done():
            task.result()
        task.cancel()


@asynccontextmanager
async def running(ip: str, count: int) -> AsyncIterator[list[ConnectionInfo]]:
    """Run that many fake kernels on this address for the length of the block."""
    command = [sys.executable, "-m", "ci.bench.fake_kernels", "--ip", ip, "--count", str(count)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24
    )
    assert process.stdin is not None  # noqa: S101 - they are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        line = await process.stdout.readline()
        if not line:
            raise CommandError("the fake kernels ended: see above")
        yield [ConnectionInfo.from_json(info) for info in json.loads(line)]
    finally:
        process.stdin.close()
        await process.wait()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m ci.bench.fake_kernels", description=__doc__)
    parser.add_argument("--ip", required=True, help="the address that pods reach this host at")
    parser.add_argument("--count", type=int, required=True, help="how many")
    options = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_serve(options.ip, options.count))


if __name__ == "__main__":
    main()
