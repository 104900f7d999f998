"""Run both gateways as processes beside one Docker engine, and leave nothing of theirs."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ci import images
from ci.bench.api import wait_until
from ci.bench.client import USERNAME, Gateway
from ci.bench.containers import BareContainers, Containers, engine_api
from ci.commands import LAST_LINES, CommandError, run
from ci.docker_engine import DockerEngine
from ci.peer import environment
from ci.peer.images import PEER_KERNEL_PY
from ci.progress import step

KERNEL = "bench"
# As on the cluster: ten kernels at once may take the peer more than half of the default's 30 seconds.
_LAUNCH_SECONDS = "120"
# Kernels that cannot start, with the default: the first one's image does not exist; the other's has no
# launcher for Scala and ends at once.
MISSING, ENDING = "missing", "ending"
_LOOPBACK = "127.0.0.1"
_END_SECONDS = 30


@dataclass(frozen=True)
class DockerSide:
    """One of the two gateways: its process, its log and the containers of its kernels."""

    name: str
    gateway: Gateway
    containers: Containers
    pid: int

    async def remove_kernels(self) -> None:
        """Delete all kernels, remove what is left of any, and return when it is gone."""
        gone = await self.containers.removal()
        await self.gateway.delete_all()
        await self.containers.remove()
        await gone


@dataclass(frozen=True)
class DockerSides:
    """Both gateways, and containers that do nothing."""

    ours: DockerSide
    peer: DockerSide
    bare: BareContainers

    def __iter__(self) -> Iterator[DockerSide]:
        return iter((self.ours, self.peer))


@dataclass(frozen=True)
class _Installation:
    """A gateway of one side before its start: its commands, its image, its own settings."""

    name: str
    commands: Path
    program: tuple[str, ...]
    image: str
    settings: dict[str, str]

    def kernelspecs(self, prefix: Path) -> None:
        """Make them with the side's own `jupyter docker-spec`; both take the same arguments."""
        for kernel, image, *arguments in (
            (KERNEL, self.image, "--launch-timeout", _LAUNCH_SECONDS),
            (MISSING, "gp-bench/missing:1.0"),
            (ENDING, self.image, "--language", "Scala"),
        ):
            command = (self.commands / "jupyter-docker-spec", "install", "--prefix", prefix)
            options = ("--kernel-name", kernel, "--image-name", image, *arguments)
            run(*command, *options, env=self._environment(prefix))

    def _environment(self, home: Path) -> dict[str, str]:
        path = f"{self.commands}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(home), "JUPYTER_PATH": f"{home}/share/jupyter"}

    @asynccontextmanager
    async def running(
        self, engine: DockerEngine, home: Path, ports: tuple[int, int], token: str
    ) -> AsyncIterator[int]:
        """Run the gateway for the length of the block; give its process id.

        Its ports are for clients and for kernels.
        """
        port, response_port = ports
        environment = {
            **self._environment(home),
            "DOCKER_HOST": engine.host,
            "GP_RESPONSE_IP": engine.host_address,
            "GP_RESPONSE_PORT": str(response_port),
            "KG_IP": _LOOPBACK,
            "KG_PORT": str(port),
            "KG_LIST_KERNELS": "True",
            "KG_AUTH_TOKEN": token,
            **self.settings,
        }
        log = home / "log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                str(self.commands / self.program[0]),
                *self.program[1:],
                env=environment,
                cwd=home,
                stdout=output,
                stderr=output,
            )
        try:
            await wait_until(lambda: self._serves(process, port, log), f"{self.name} serves")
            yield process.pid
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _END_SECONDS)
            except asyncio.TimeoutError:
                process.kill()
                await process.wait()

    async def _serves(self, process: asyncio.subprocess.Process, port: int, log: Path) -> bool:
        if process.returncode is not None:
            raise CommandError(f"the gateway of {self.name} ended at once:\n{_last_lines(log)}")
        with suppress(OSError):
            _, writer = await asyncio.open_connection(_LOOPBACK, port)
            writer.close()
            return True
        return False


def _installations() -> list[_Installation]:
    return [
        _Installation(
            "ours",
            Path(sys.executable).parent,
            ("jupyter-gateway",),
            images.KERNEL_PY.reference,
            # As docs/docker.md has it for a gateway whose kernels outlive it.
            {
                "GP_ENGINE": "docker",
                "GP_INSTANCE": f"gp-bench-{uuid.uuid4()}",
                "GP_STATE_DIR": "state",
            },
        ),
        _Installation(
            "peer",
            environment.ensure(),
            # INFO as ours, and not its own start script's DEBUG.
            ("jupyter-kernelgateway", "--log-level=INFO"),
            PEER_KERNEL_PY.reference,
            # Jupyter Kernel Gateway hides its environment from a launch whose request has `env`; the peer's
            # launcher, a process of its own, finds the engine by this.
            {"KG_ENV_PROCESS_WHITELIST": "DOCKER_HOST"},
        ),
    ]


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("", 0))
        other.bind(("", 0))
        return one.getsockname()[1], other.getsockname()[1]


@asynccontextmanager
async def running(engine: DockerEngine) -> AsyncIterator[DockerSides]:
    """Run both gateways for the length of the block."""
    engine.load(images.ensure([images.KERNEL_PY.reference, PEER_KERNEL_PY.reference]))
    installations = _installations()
    async with AsyncExitStack() as stack:
        docker = await stack.enter_async_context(engine_api(engine.host))
        everything = Containers(docker, f"{USERNAME}-")
        await everything.remove()  # what a killed bench may have left
        stack.push_async_callback(everything.remove)
        sides: list[DockerSide] = []
        for installation in installations:
            ports = _free_ports()
            name, token = installation.name, secrets.token_hex(24)
            home = Path(stack.enter_context(TemporaryDirectory(prefix=f"gp-bench-{name}-")))
            with step(f"Start the gateway of {name} beside the Docker engine"):
                installation.kernelspecs(home)
                pid = await stack.enter_async_context(
                    installation.running(engine, home, ports, token)
                )
            user = f"{USERNAME}-{name}"
            gateway = Gateway(f"http://{_LOOPBACK}:{ports[0]}", token, KERNEL, user)
            await stack.enter_async_context(gateway)
            sides.append(DockerSide(name, gateway, Containers(docker, f"{user}-"), pid))
        bare = BareContainers(docker, f"{USERNAME}-bare-", images.KERNEL_PY.reference)
        ours, peer = sides
        yield DockerSides(ours, peer, bare)
