"""The gateway in a container beside its kernels: examples/docker, and docs/docker.md's `docker run`."""

import asyncio
import json
import os
import re
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path

import pytest

from ci import images
from ci.commands import CommandError
from ci.compose import IMAGES, Project
from ci.gateway_client import Gateway
from ci.private_engine import ASK_SECONDS
from timeouts import TIMEOUT_SECONDS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/docker.md").read_text()
TOKEN = "a-token-of-the-tests"

# Asks the engine from inside the gateway's container, with what it has there.
ASK = """
import http.client, os, socket, sys
for method, path in (line.split() for line in sys.argv[1].splitlines()):
    connection = http.client.HTTPConnection("engine", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))
    connection.request(method, path)
    print(connection.getresponse().status)
    connection.close()
"""
PASSED_ON = ("GET /v1.41/info", "GET /containers/none/json", "DELETE /v1.41/containers/none")
REFUSED = """
POST /containers/none/exec
POST /v1.41/exec/none/start
POST /containers/none/attach
POST /containers/none/update
GET /containers/none/export
GET /containers/none/archive?path=/
GET /info/../volumes
GET /volumes
POST /volumes/create
GET /networks
GET /plugins
POST /build
DELETE /images/none
POST /swarm/leave
POST /v1.41/services/create
""".strip().splitlines()


@pytest.fixture(scope="module")
def gateway_images(engine):
    engine.load(images.archives(IMAGES))


@pytest.fixture(scope="module")
def project(engine, gateway_images, tmp_path_factory):
    """The running project, with a kernel `test`; nothing of it may remain."""
    folder = tmp_path_factory.mktemp("project")
    project = Project(engine, f"gp-test-{uuid.uuid4().hex[:8]}", folder)
    project.write_files(0)
    try:
        project.up()
        project.add_kernel("test", images.KERNEL_PY.reference, "Test")
        yield project
    finally:
        project.down()
    for kind in ("container", "network", "volume"):
        assert not engine.cli(kind, "ls", "--quiet", "--filter", f"name={project.name}")


def inspected(project, service):
    container = project.compose("ps", "--quiet", service).strip()
    return json.loads(project.engine.cli("inspect", container))[0]


async def test_a_kernel_outlives_its_gateways_container(project):
    async with Gateway(project.gateway_url(), project.token) as client:
        kernel_id = await client.start("test")
        async with client.channels(kernel_id) as kernel:
            assert (await kernel.execute("x = 41")).status == "ok"
    project.compose("restart", "gateway")
    project.up()  # which waits until it is ready
    async with Gateway(project.gateway_url(), project.token) as client:
        assert set(await client.kernels()) == {kernel_id}
        async with client.channels(kernel_id) as kernel:
            assert (await kernel.execute("print(x + 1)")).text == "42\n"
        # Kernels that are left are removed with the project.


@pytest.mark.attack(19)
async def test_the_gateway_has_a_part_of_the_engine_and_its_kernels_none(project, engine):
    gateway, proxy = inspected(project, "gateway"), inspected(project, "engine")
    assert "docker.sock" not in json.dumps(gateway["Mounts"])
    assert gateway["HostConfig"]["ReadonlyRootfs"]
    assert gateway["HostConfig"]["CapDrop"] == proxy["HostConfig"]["CapDrop"] == ["ALL"]
    assert engine.cli("exec", gateway["Id"], "id", "-u") == "1000\n"
    requests = "\n".join((*PASSED_ON, *REFUSED))
    answers = engine.cli("exec", gateway["Id"], "python", "-c", ASK, requests).split()
    assert answers[: len(PASSED_ON)] == ["200", "404", "404"]
    assert set(answers[len(PASSED_ON) :]) == {"403"}, dict(zip(REFUSED, answers[3:], strict=True))
    # No program of the machine, and no kernel, can connect to it.
    assert set(proxy["NetworkSettings"]["Networks"]) == {"none"}
    async with (
        Gateway(project.gateway_url(), project.token) as client,
        client.kernel("test") as kernel,
    ):
        code = "import os; print(os.getuid(), os.path.exists('/run/engine'))"
        assert (await kernel.execute(code)).text == "1000 False\n"


def test_a_project_needs_a_token(project):
    settings = project.folder / ".env"
    content = settings.read_text()
    settings.write_text(re.sub("KG_AUTH_TOKEN=.*", "KG_AUTH_TOKEN=", content))
    try:
        with pytest.raises(CommandError, match="choose a token for clients"):
            project.compose("config")
    finally:
        settings.write_text(content)


async def test_the_docker_run_line_of_the_page(engine, gateway_images, tmp_path):
    names = {
        name: f"gp-test-{uuid.uuid4().hex[:8]}"
        for name in ("notebooks", "gateway", "gateway-state")
    }
    [block] = re.findall(
        r"```shell\n(docker network create notebooks\n.*?)```", PAGE, flags=re.DOTALL
    )
    socket = engine.host.removeprefix("unix://")
    script = (
        block.replace("/var/run/docker.sock:", f"{socket}:")
        .replace("%g /var/run/docker.sock", f"%g {socket}")
        .replace("127.0.0.1:8888:8888", "127.0.0.1::8888")
        .replace("notebooks", names["notebooks"])
        .replace("--name gateway", f"--name {names['gateway']}")
        .replace("gateway-state:", f"{names['gateway-state']}:")
    )
    [spec] = re.findall(r"```shell\n(docker run --rm --user .*?)```", PAGE, flags=re.DOTALL)
    spec = spec.replace("acme/data-sci-py:2.0", images.KERNEL_PY.reference)
    environment = {**os.environ, "DOCKER_HOST": engine.host, "KG_AUTH_TOKEN": TOKEN}
    (tmp_path / "kernelspecs").mkdir()
    try:
        for commands in (script, spec):
            await asyncio.to_thread(
                subprocess.run,
                ["bash", "-euc", commands],
                env=environment,
                cwd=tmp_path,
                check=True,
            )
        url = wait_ready(engine, names)
        async with Gateway(url, TOKEN) as client, client.kernel("data_sci_py") as kernel:
            assert (await kernel.execute("print(6 * 7)")).text == "42\n"
    finally:
        engine.cli("rm", "--force", names["gateway"])
        label = f"label=gateway-provisioners.instance={names['notebooks']}"
        for kernel in engine.cli("ps", "--all", "--quiet", "--filter", label).split():
            engine.cli("rm", "--force", kernel)
        engine.cli("network", "rm", names["notebooks"])
        engine.cli("volume", "rm", names["gateway-state"])


def wait_ready(engine, names):
    """The address of the gateway, as soon as it is ready."""
    template = f'{{{{(index .NetworkSettings.Networks "{names["notebooks"]}").IPAddress}}}}'
    host = engine.cli("inspect", "--format", template, names["gateway"]).strip()
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://{host}:8889/readyz", timeout=5):
                return f"http://{host}:8888"
        except OSError:
            assert time.monotonic() < deadline, engine.cli("logs", names["gateway"])
            time.sleep(ASK_SECONDS)
