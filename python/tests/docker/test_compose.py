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
KERNEL = f"alice-{uuid.UUID(int=1)}-1"
PASSED_ON = (
    "GET /v1.41/info",
    f"GET /containers/{KERNEL}/json",
    f"DELETE /v1.41/containers/{KERNEL}",
)
REFUSED = f"""
POST /containers/{KERNEL}/exec
POST /v1.41/exec/none/start
POST /containers/{KERNEL}/attach
POST /containers/{KERNEL}/update
GET /containers/{KERNEL}/export
GET /containers/{KERNEL}/archive?path=/
GET /info/../volumes
GET /volumes
POST /volumes/create
GET /networks
GET /networks/bridge
GET /plugins
POST /build
DELETE /images/none
POST /swarm/leave
POST /v1.41/services/create
""".strip().splitlines()
# On a container that runs and is not a kernel, by its name as by its id.
REFUSED_ON_OTHERS = """
GET /containers/{0}/json
GET /v1.41/containers/{0}/json
GET /containers/{0}/logs?stdout=1
PUT /containers/{0}/archive?path=/
POST /containers/{0}/start
POST /containers/{0}/stop
DELETE /containers/{0}?force=1
GET /containers/{0}%2Fjson
GET /containers/{0}/json%3F
GET /containers%2F{0}/json
GET /containers/{1}/../{0}/json
GET /containers/{1}%2F..%2F{0}/json
GET /containers/./{0}/json
GET /images/../containers/{0}/json
GET /v1.41/../containers/{0}/json
GET //containers/{0}/json
DELETE /containers/{0};{1}
POST /containers/create?name={0}
POST /containers/create?n%61me={0}&name={1}
POST /containers/create
""".strip()
SWARM_LISTS = ("GET /services", "GET /v1.41/tasks", "GET /secrets")


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


def ask_engine(engine, gateway, requests):
    """The statuses of requests that are sent from the gateway's container to the engine."""
    return engine.cli("exec", gateway["Id"], "python", "-c", ASK, "\n".join(requests)).split()


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
    assert ask_engine(engine, gateway, PASSED_ON) == ["200", "404", "404"]
    network = f"GET /v1.41/networks/{project.name}_kernels"
    assert ask_engine(engine, gateway, [network]) == ["200"]
    answers = ask_engine(engine, gateway, REFUSED)
    assert set(answers) == {"403"}, dict(zip(REFUSED, answers, strict=True))
    # No program of the machine, and no kernel, can connect to it.
    assert set(proxy["NetworkSettings"]["Networks"]) == {"none"}
    async with (
        Gateway(project.gateway_url(), project.token) as client,
        client.kernel("test") as kernel,
    ):
        code = "import os; print(os.getuid(), os.path.exists('/run/engine'))"
        assert (await kernel.execute(code)).text == "1000 False\n"


@pytest.mark.attack(19)
def test_the_engine_lets_the_gateway_touch_only_kernels(project, engine):
    gateway, proxy = inspected(project, "gateway"), inspected(project, "engine")
    names = [name for each in (gateway, proxy) for name in (each["Name"].strip("/"), each["Id"])]
    requests = [
        line for name in names for line in REFUSED_ON_OTHERS.format(name, KERNEL).splitlines()
    ]
    answers = ask_engine(engine, gateway, requests)
    assert set(answers) == {"403"}, dict(zip(requests, answers, strict=True))
    for service, before in (("gateway", gateway), ("engine", proxy)):
        assert inspected(project, service)["State"]["StartedAt"] == before["State"]["StartedAt"]


@pytest.mark.attack(19)
def test_the_engine_shows_nothing_of_a_swarm_unless_that_is_allowed(project, engine):
    gateway = inspected(project, "gateway")
    with engine.swarm_network():  # else the engine itself would refuse
        assert ask_engine(engine, gateway, SWARM_LISTS) == ["503"] * 3


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
