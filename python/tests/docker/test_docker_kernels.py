"""Kernels in containers, as any host of jupyter_client has them: bare kernel managers, and a real engine."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from tornado import web

from ci import images
from gateway_provisioners.handshake.payload import GatewayKey, new_launch_key
from gateway_provisioners.handshake.response_server import ResponseServer

PATIENCE_SECONDS = 60
BUSY_LOOP = "begun = True\nprint(begun)\nwhile True: pass"


class Kernel:
    """One kernel and the client that talks to it."""

    def __init__(self, manager):
        self.manager = manager
        self.client = None

    async def connect(self):
        if self.client is not None:
            self.client.stop_channels()
        self.client = self.manager.client()
        self.client.start_channels()
        await self.client.wait_for_ready(timeout=PATIENCE_SECONDS)

    async def run(self, code, on_output=None):
        """The reply to `code`, and what it printed; calls `on_output` when it prints."""
        printed = []

        async def hook(message):
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])
                if on_output is not None:
                    await on_output()

        def output(message):
            tasks.append(asyncio.ensure_future(hook(message)))

        tasks = []
        reply = await self.client.execute_interactive(
            code, output_hook=output, timeout=PATIENCE_SECONDS
        )
        await asyncio.gather(*tasks)
        return reply["content"], "".join(printed)


class Host:
    """A process that starts kernels of specs that it makes."""

    def __init__(self, engine, folder):
        self.engine = engine
        self.instance = f"gp-test-{uuid.uuid4().hex[:8]}"
        self._specs = KernelSpecManager(kernel_dirs=[str(folder)])
        self._folder = folder

    def manager(self, name="test", **config):
        """A manager of a kernel with this provisioner configuration."""
        config = {"image_name": images.KERNEL_PY.reference, **config}
        spec = {
            "argv": [],
            "display_name": name,
            "language": "python",
            "metadata": {
                "kernel_provisioner": {"provisioner_name": "docker-provisioner", "config": config}
            },
        }
        (self._folder / name).mkdir(exist_ok=True)
        (self._folder / name / "kernel.json").write_text(json.dumps(spec))
        return AsyncKernelManager(kernel_name=name, kernel_spec_manager=self._specs)

    @contextlib.asynccontextmanager
    async def kernel(self, *, env=None, **config):
        async with self.running(self.manager(**config), env=env) as kernel:
            yield kernel

    @contextlib.asynccontextmanager
    async def running(self, manager, *, env=None):
        """The kernel of a manager, from its start to its end."""
        await manager.start_kernel(env=env or {})
        kernel = Kernel(manager)
        try:
            await kernel.connect()
            yield kernel
        finally:
            if kernel.client is not None:
                kernel.client.stop_channels()
            await manager.shutdown_kernel(now=True)

    async def refusal(self, *, env=None, **config):
        """The words with which a kernel does not start."""
        with pytest.raises(web.HTTPError) as refusal:
            await self.manager(**config).start_kernel(env=env or {})
        return refusal.value.log_message

    def containers(self):
        """All containers of this host's kernels, as `docker inspect` shows them."""
        label = f"label=gateway-provisioners.instance={self.instance}"
        names = self.engine.cli("ps", "--all", "--quiet", "--filter", label).split()
        return json.loads(self.engine.cli("inspect", *names)) if names else []


@pytest.fixture
async def host(engine, monkeypatch, tmp_path):
    """A host whose kernels are on the tests' engine; nothing of them must remain."""
    host = Host(engine, tmp_path)
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setenv("GP_RESPONSE_IP", engine.host_address)
    monkeypatch.setenv("GP_INSTANCE", host.instance)
    yield host
    left = [container["Name"] for container in host.containers()]
    if left:
        engine.cli("rm", "--force", *left)
    assert left == []


async def test_a_kernel_runs_code_and_leaves_nothing(host):
    async with host.kernel(env={"KERNEL_USERNAME": "ada", "GREETING": 'it\'s "$HOME"\n'}) as kernel:
        assert (await kernel.run("print(6 * 7)"))[1] == "42\n"
        code = "import os; print(os.environ['GREETING'], end='')"
        assert (await kernel.run(code))[1] == 'it\'s "$HOME"\n'
        [container] = host.containers()
        assert container["Config"]["Labels"]["kernel_id"] == kernel.manager.kernel_id
        assert container["Config"]["Labels"]["component"] == "kernel"
        shown = json.dumps(container)
        assert "$HOME" not in shown
        assert "KERNEL_LAUNCH_KEY" not in shown
        file = "/.gateway-provisioners/environment"
        code = f"print(os.getuid(), os.getgid(), os.path.exists({file!r}))"
        assert (await kernel.run(code))[1] == "1000 100 False\n"
    assert host.containers() == []


async def test_interrupting_a_busy_loop_keeps_the_variables(host):
    async with host.kernel() as kernel:
        reply, _ = await kernel.run(BUSY_LOOP, on_output=kernel.manager.interrupt_kernel)
        assert reply["ename"] == "KeyboardInterrupt"
        assert (await kernel.run("print(begun)"))[1] == "True\n"


async def test_a_restart_keeps_the_id_and_loses_the_variables(host):
    async with host.kernel() as kernel:
        before = kernel.manager.kernel_id
        await kernel.run("x = 1")
        await kernel.manager.restart_kernel()
        await kernel.connect()
        assert kernel.manager.kernel_id == before
        assert (await kernel.run("x"))[0]["ename"] == "NameError"
        assert len(host.containers()) == 1


async def test_a_kernel_that_ends_by_itself_has_ended(host):
    async with host.kernel() as kernel:
        kernel.client.execute("import os; os._exit(3)")
        workload = kernel.manager.provisioner._workload
        await asyncio.wait_for(workload.wait_gone(), PATIENCE_SECONDS)
        assert not await kernel.manager.is_alive()
        assert await kernel.manager.provisioner.poll() == 3


async def test_five_kernels_at_once(host):
    async def use(number):
        async with host.kernel(name=f"test-{number}") as kernel:
            return (await kernel.run(f"print({number} ** 2)"))[1]

    assert await asyncio.gather(*map(use, range(5))) == [f"{n**2}\n" for n in range(5)]


async def test_resources_volumes_and_ids_of_the_kernelspec_and_the_client(host, engine):
    volume = f"gp-test-{uuid.uuid4().hex[:8]}-ada"
    try:
        async with host.kernel(
            env={
                "KERNEL_USERNAME": "ada",
                "KERNEL_MEMORY_LIMIT": "300Mi",
                "KERNEL_UID": "1234",
                "KERNEL_WORKING_DIR": "/tmp",
                "KERNEL_VOLUMES": json.dumps(
                    [{"name": "data", "persistentVolumeClaim": {"claimName": volume}}]
                ),
                "KERNEL_VOLUME_MOUNTS": json.dumps([{"name": "data", "mountPath": "/data"}]),
            },
            resources={"limits": {"cpu": "1500m", "memory": "1Gi"}, "requests": {"cpu": "250m"}},
            client_ids=True,
            client_claims=[volume.replace("ada", "{username}")],
            mirror_working_dirs=True,
            volumes=["/usr/share:/shared:ro"],
        ) as kernel:
            code = "import os; print(os.getuid(), os.getcwd(), os.path.ismount('/data'))"
            assert (await kernel.run(code))[1] == "1234 /tmp True\n"
            assert (await kernel.run("print(len(os.listdir('/shared')) > 0)"))[1] == "True\n"
            reply, _ = await kernel.run("open('/shared/new', 'w')")
            assert "Read-only file system" in reply["evalue"]
            [container] = host.containers()
            config = container["HostConfig"]
            assert (config["NanoCpus"], config["CpuShares"]) == (1_500_000_000, 256)
            assert config["Memory"] == config["MemorySwap"] == 300 * 2**20
            assert config["CapDrop"] == ["ALL"]
            assert config["SecurityOpt"] == ["no-new-privileges"]
    finally:
        engine.cli("volume", "rm", "--force", volume)


async def test_a_kernel_is_reached_on_the_network_that_is_named(host, engine, monkeypatch):
    network = f"gp-test-{uuid.uuid4().hex[:8]}"
    engine.cli("network", "create", network)
    monkeypatch.setenv("GP_DOCKER_NETWORK", network)
    try:
        async with host.kernel() as kernel:
            [container] = host.containers()
            assert list(container["NetworkSettings"]["Networks"]) == [network]
            [address] = container["NetworkSettings"]["Networks"].values()
            assert kernel.manager.get_connection_info()["ip"] == address["IPAddress"]
            assert (await kernel.run("print(1)"))[1] == "1\n"
    finally:
        engine.cli("network", "rm", network)


async def test_a_container_that_shall_be_kept_is_kept(host, engine, monkeypatch):
    monkeypatch.setenv("GP_REMOVE_CONTAINER", "False")
    async with host.kernel() as kernel:
        await kernel.run("print(1)")
    [container] = host.containers()
    assert container["State"]["Status"] == "exited"
    engine.cli("rm", container["Name"])


async def test_an_image_that_does_not_exist(host):
    refusal = await host.refusal(image_name="acme/nowhere:1")
    assert "Kernel 'test' (" in refusal
    assert "The image 'acme/nowhere:1' cannot be pulled" in refusal
    never = await host.refusal(image_name="acme/nowhere:1", image_pull_policy="Never")
    assert "the engine does not have it" in never


async def test_a_command_that_is_not_there(host):
    refusal = await host.refusal(
        container_template={"Entrypoint": ["bash", "-c", "echo lost; exec nothing-here"]}
    )
    assert "exited with code 127" in refusal
    assert "The last lines of its log:\nlost\n" in refusal
    assert "nothing-here: not found" in refusal


async def test_a_container_that_cannot_be_started(host):
    refusal = await host.refusal(container_template={"Entrypoint": ["/no/such/program"]})
    assert "cannot be made or started" in refusal
    assert "/no/such/program" in refusal


async def test_too_little_memory(host):
    refusal = await host.refusal(resources={"limits": {"memory": "24Mi"}})
    assert "OOMKilled" in refusal
    assert "KERNEL_MEMORY_LIMIT" in refusal


async def test_a_network_that_does_not_exist(host, monkeypatch):
    monkeypatch.setenv("GP_DOCKER_NETWORK", "gp-test-nowhere")
    refusal = await host.refusal()
    assert "The engine has no network 'gp-test-nowhere'" in refusal
    assert "GP_DOCKER_NETWORK" in refusal


async def test_a_path_that_does_not_exist_cannot_be_mounted(host):
    refusal = await host.refusal(volumes=["/no/such/path:/data"])
    assert "/no/such/path" in refusal
    assert "cannot be mounted" in refusal


async def test_no_kernel_is_root(host):
    assert "would run as root" in await host.refusal(run_as_user=0)


async def test_a_kernel_that_does_not_report_in_time(host):
    refusal = await host.refusal(
        launch_timeout=1, container_template={"Entrypoint": ["sleep", "60"], "Cmd": []}
    )
    assert "Its container runs, but its launcher has not reported" in refusal


@pytest.fixture
def installed(tmp_path):
    """The folder of a kernelspec that the documented command made."""
    command = [str(Path(sys.executable).parent / "jupyter-docker-spec"), "install"]
    where = ("--prefix", str(tmp_path), "--kernel-name", "data_sci_py")
    image = ("--image-name", images.KERNEL_PY.reference)
    subprocess.run([*command, *where, *image], check=True)
    return tmp_path / "share/jupyter/kernels/data_sci_py"


async def test_a_kernelspec_that_the_command_made(host, installed):
    manager = AsyncKernelManager(
        kernel_name="data_sci_py",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(installed.parent)]),
    )
    async with host.running(manager) as kernel:
        assert (await kernel.run("print(6 * 7)"))[1] == "42\n"


async def test_the_launch_script_by_hand(host, engine, installed):
    key = await asyncio.to_thread(GatewayKey.generate)
    server = ResponseServer(engine.host_address, 0, 0, key)
    await server.start()
    try:
        launch_key, kernel_id = new_launch_key(), str(uuid.uuid4())
        with server.expect(kernel_id, launch_key) as expectation:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(installed / "scripts/launch_docker.py")),
                *("--kernel-id", kernel_id, "--response-address", server.response_address),
                *("--public-key", server.public_key),
                env={**os.environ, "KERNEL_LAUNCH_KEY": launch_key, "KERNEL_USERNAME": "ada"},
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate()
            assert process.returncode == 0
            name = f"ada-{kernel_id}-1"
            assert output.decode() == f"[launch_docker] Started container {name}.\n"
            arrival = await asyncio.wait_for(expectation.next_arrival(), PATIENCE_SECONDS)
        [container] = host.containers()
        assert container["Name"] == f"/{name}"
        assert arrival.protocol == 2
    finally:
        await server.stop()
        engine.cli("rm", "--force", f"ada-{kernel_id}-1")


async def test_the_launch_script_says_why_it_did_not(host, installed):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(installed / "scripts/launch_docker.py")),
        *("--kernel-id", "a", "--response-address", "192.0.2.7:8877", "--public-key", "none"),
        env={**os.environ, "KERNEL_IMAGE": "acme/nowhere:1"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().startswith("[launch_docker] ERROR | The image 'acme/nowhere:1' cannot")


async def test_no_engine(host, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    assert "The Docker engine does not answer" in await host.refusal()
