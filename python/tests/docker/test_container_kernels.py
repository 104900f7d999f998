"""Kernels in containers of real engines: features that Swarm services lack, or have in another form."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from ci import images
from gateway_provisioners.handshake.payload import GatewayKey, new_launch_key
from gateway_provisioners.handshake.response_server import ResponseServer
from timeouts import within_timeout


@pytest.fixture(params=["engine", "podman"])
def host(request, hosts):
    return hosts("docker-provisioner", request.param)


async def test_resources_volumes_and_ids_of_the_kernelspec_and_the_client(host):
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
            code = "print(*re.findall(r'(?:CapBnd|NoNewPrivs):\\s*(\\w+)', open('/proc/self/status').read()))"
            assert (await kernel.run(f"import re; {code}"))[1] == f"{0:016} 1\n"
            [container] = host.containers()
            config = container["HostConfig"]
            assert (config["NanoCpus"], config["CpuShares"]) == (1_500_000_000, 256)
            assert config["Memory"] == config["MemorySwap"] == 300 * 2**20
            code = "print(*(os.environ[n] for n in ('CPU_LIMIT', 'MEM_LIMIT', 'OMP_NUM_THREADS')))"
            threads = min(2, len(os.sched_getaffinity(0)))
            assert (await kernel.run(code))[1] == f"1.5 {300 * 2**20} {threads}\n"
    finally:
        host.engine.cli("volume", "rm", "--force", volume)


async def test_a_kernel_is_reached_on_the_network_that_is_named(host, monkeypatch):
    network = f"gp-test-{uuid.uuid4().hex[:8]}"
    host.engine.cli("network", "create", network)
    monkeypatch.setenv("GP_DOCKER_NETWORK", network)
    try:
        async with host.kernel() as kernel:
            [container] = host.containers()
            assert list(container["NetworkSettings"]["Networks"]) == [network]
            [address] = container["NetworkSettings"]["Networks"].values()
            assert kernel.manager.get_connection_info()["ip"] == address["IPAddress"]
            assert (await kernel.run("print(1)"))[1] == "1\n"
    finally:
        host.engine.cli("network", "rm", network)


async def test_a_container_is_kept_where_the_setting_says_so(host, monkeypatch):
    monkeypatch.setenv("GP_REMOVE_CONTAINER", "False")
    async with host.kernel() as kernel:
        await kernel.run("print(1)")
    [container] = host.containers()
    assert container["State"]["Status"] == "exited"
    host.engine.cli("rm", container["Name"])


async def test_an_image_that_must_not_be_pulled(host):
    never = await host.refusal(image_name="acme/nowhere:1", image_pull_policy="Never")
    assert "the engine does not have it" in never


async def test_a_log_that_the_engine_does_not_keep(host):
    refusal = await host.refusal(
        container_template={
            **host.command("false"),
            "HostConfig": {"LogConfig": {"Type": "none"}},
        }
    )
    assert "exited with code 1" in refusal
    assert "The last lines of its log: (The engine cannot read it: " in refusal


async def test_a_gpu_that_no_container_gets(host):
    refusal = await host.refusal(resources={"limits": {"nvidia.com/gpu": "1"}})
    assert "cannot be created or started" in refusal
    assert "gpu" in refusal.lower()


async def test_a_network_that_does_not_exist(host, monkeypatch):
    monkeypatch.setenv("GP_DOCKER_NETWORK", "gp-test-nowhere")
    refusal = await host.refusal()
    assert "The engine has no network 'gp-test-nowhere'" in refusal
    assert "GP_DOCKER_NETWORK" in refusal


async def test_a_path_that_does_not_exist_cannot_be_mounted(hosts):
    # podman makes it.
    refusal = await hosts("docker-provisioner").refusal(volumes=["/no/such/path:/data"])
    assert "/no/such/path" in refusal
    assert "cannot be mounted" in refusal


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


async def test_the_launch_script_by_hand(host, installed):
    key = await asyncio.to_thread(GatewayKey.generate)
    server = ResponseServer(host.engine.host_address, 0, 0, key)
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
            arrival = await within_timeout(expectation.next_arrival())
        [container] = host.containers()
        assert container["Name"] == f"/{name}"
        assert arrival.protocol == 2
    finally:
        await server.stop()
        host.engine.cli("rm", "--force", f"ada-{kernel_id}-1")


async def test_the_launch_script_says_why_it_did_not(host, installed):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(installed / "scripts/launch_docker.py")),
        *("--kernel-id", "a", "--response-address", "192.0.2.7:8877", "--public-key", "none"),
        env={**os.environ, "KERNEL_IMAGE": "acme/nowhere:1"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().startswith("[launch_docker] ERROR | The image cannot be pulled (")
