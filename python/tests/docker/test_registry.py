"""Images that have to be pulled, from a registry that asks for a password."""

import base64
import json
import subprocess
import uuid
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

from ci import docker_engine, images
from ci.podman_service import PodmanService
from timeouts import TIMEOUT_SECONDS

USER, PASSWORD = "ada", "Anal:ytical 'Engine'"
REGISTRY = images.Image(
    "gp-test/registry:1",
    Path(__file__).parent / "registry",
    images.DEBIAN.reference,
    deployed=False,
)


class Registry:
    """A registry that the engine reaches at `address`, and the files of `docker login` for it."""

    def __init__(self, engine, place, name, folder):
        self.place = place
        self._engine = engine
        self._name = name
        self._folder = folder
        self.address = (
            engine.cli("port", name, "5000/tcp").split()[0].replace("0.0.0.0", "127.0.0.1")
        )

    def login(self, password=PASSWORD):
        """The folder of a docker command that is logged in."""
        folder = self._folder / uuid.uuid4().hex
        folder.mkdir()
        credentials = base64.b64encode(f"{USER}:{password}".encode()).decode()
        content = {"auths": {self.address: {"auth": credentials}}}
        (folder / "config.json").write_text(json.dumps(content))
        return folder

    def push_kernel(self):
        """The name of a new image for Python kernels, which only the registry has."""
        name = f"{self.address}/acme/{uuid.uuid4().hex[:8]}:1"
        self._engine.cli("tag", images.KERNEL_PY.reference, name)
        self._engine.cli("--config", self.login(), "push", "--quiet", name)
        self._engine.cli("rmi", name)
        return name

    def remove(self, name):
        """Remove an image from the engine, if it is there."""
        if self._engine.cli("images", "--quiet", name):
            self._engine.cli("rmi", "--force", name)

    def pause(self):
        self._engine.cli("pause", self._name)

    def resume(self):
        self._engine.cli("unpause", self._name)


@pytest.fixture(scope="module")
def podman_with_registry():
    """A podman of its own that pulls without TLS, from one port."""
    own = PodmanService(f"gp-test-{uuid.uuid4().hex[:8]}", insecure=["127.0.0.1:5000"])
    try:
        engine = docker_engine.bring_up(own)
        engine.load(images.ensure([images.KERNEL_PY.reference]))
        yield engine
    finally:
        own.down()


@pytest.fixture(scope="module", params=["engine", "podman_with_registry"])
def registry(request, tmp_path_factory):
    engine = request.getfixturevalue(request.param)
    engine.load(images.archives([REGISTRY]))
    name = f"gp-test-{uuid.uuid4().hex[:8]}"
    # dockerd pulls from loopback without TLS, whatever the port.
    port = "" if request.param == "engine" else "5000"
    variables = (f"--env=REGISTRY_USER={USER}", f"--env=REGISTRY_PASSWORD={PASSWORD}")
    try:
        engine.cli(
            *("run", "--detach", "--name", name, f"--publish=127.0.0.1:{port}:5000"),
            *(*variables, REGISTRY.reference),
        )
        argv = ["docker", f"--host={engine.host}", "logs", "--follow", name]
        with subprocess.Popen(argv, stdout=PIPE, stderr=STDOUT, text=True) as log:
            assert any("listening on" in line for line in log.stdout)
            log.kill()
        yield Registry(engine, request.param, name, tmp_path_factory.mktemp("registry"))
    finally:
        engine.cli("rm", "--force", "--volumes", name)


@pytest.fixture
def image(registry):
    name = registry.push_kernel()
    yield name
    registry.remove(name)


@pytest.fixture
def host(hosts, registry):
    return hosts("docker-provisioner", registry.place)


async def test_an_image_is_pulled_with_the_credentials_of_docker_login(
    host, registry, image, monkeypatch
):
    monkeypatch.setenv("DOCKER_CONFIG", str(registry.login()))
    async with host.kernel(image_name=image) as kernel:
        assert (await kernel.run("print(6 * 7)"))[1] == "42\n"


@pytest.mark.parametrize("registry", ["engine"], indirect=True)
async def test_the_nodes_of_a_swarm_pull_it_likewise(hosts, registry, image, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(registry.login()))
    async with hosts("docker-swarm-provisioner").kernel(image_name=image) as kernel:
        assert (await kernel.run("print(6 * 7)"))[1] == "42\n"


@pytest.mark.parametrize("password", [None, "wrong"])
async def test_a_registry_that_does_not_let_the_engine_in(
    host, registry, image, monkeypatch, tmp_path, password
):
    folder = registry.login(password) if password else tmp_path
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    refusal = await host.refusal(image_name=image)
    assert f"The image cannot be pulled (no such image): {image!r}" in refusal
    assert "no basic auth credentials" in refusal or "unauthorized" in refusal
    assert "wrong" not in refusal


async def test_an_image_that_takes_too_long_is_there_later(host, registry, image, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(registry.login()))
    registry.pause()
    try:
        refusal = await host.refusal(image_name=image, launch_timeout=5)
    finally:
        registry.resume()
    assert "still being pulled after 5 seconds" in refusal
    async with host.kernel(image_name=image, launch_timeout=TIMEOUT_SECONDS) as kernel:
        assert (await kernel.run("print(6 * 7)"))[1] == "42\n"


@pytest.mark.filterwarnings("ignore:docker-credential-is-not-here")  # the same, by the library
async def test_a_credential_store_that_does_not_answer(host, image, monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text('{"credsStore": "is-not-here"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    refusal = await host.refusal(image_name=image)
    assert "docker-credential-is-not-here" in refusal
    assert f"The image cannot be pulled (no such image): {image!r}" in refusal
