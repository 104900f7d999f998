"""Images that have to be pulled, from a registry that asks for a password."""

import base64
import json
import uuid
from pathlib import Path

import pytest
from kernel_host import PATIENCE_SECONDS

from ci import images

USER, PASSWORD = "ada", "Anal:ytical 'Engine'"
REGISTRY = images.Image(
    "gp-test/registry:1",
    Path(__file__).parent / "registry",
    images.DEBIAN.reference,
    deployed=False,
)


class Registry:
    """A registry that the engine reaches at `address`, and what `docker login` leaves for it."""

    def __init__(self, engine, name, folder):
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
        words = base64.b64encode(f"{USER}:{password}".encode()).decode()
        content = {"auths": {self.address: {"auth": words}}}
        (folder / "config.json").write_text(json.dumps(content))
        return folder

    def push_kernel(self):
        """The name of a new image for Python kernels, which only the registry has."""
        name = f"{self.address}/acme/{uuid.uuid4().hex[:8]}:1"
        self._engine.cli("tag", images.KERNEL_PY.reference, name)
        self._engine.cli("--config", self.login(), "push", "--quiet", name)
        self._engine.cli("rmi", name)
        return name

    def pause(self):
        self._engine.cli("pause", self._name)

    def resume(self):
        self._engine.cli("unpause", self._name)


@pytest.fixture(scope="module")
def registry(engine, tmp_path_factory):
    engine.load(images.archives([REGISTRY]))
    name = f"gp-test-{uuid.uuid4().hex[:8]}"
    variables = (f"--env=REGISTRY_USER={USER}", f"--env=REGISTRY_PASSWORD={PASSWORD}")
    try:
        # Engines pull from loopback without TLS.
        engine.cli(
            *("run", "--detach", "--name", name, "--publish=127.0.0.1::5000"),
            *(*variables, REGISTRY.reference),
        )
        yield Registry(engine, name, tmp_path_factory.mktemp("registry"))
    finally:
        engine.cli("rm", "--force", "--volumes", name)


@pytest.fixture
def image(engine, registry):
    name = registry.push_kernel()
    yield name
    if engine.cli("images", "--quiet", name):
        engine.cli("rmi", "--force", name)


@pytest.fixture(params=["docker-provisioner", "docker-swarm-provisioner"])
def host_of_both(request, hosts):
    return hosts(request.param)


@pytest.fixture
def host(hosts):
    return hosts("docker-provisioner")


async def test_an_image_is_pulled_with_what_docker_login_stored(
    host_of_both, registry, image, monkeypatch
):
    monkeypatch.setenv("DOCKER_CONFIG", str(registry.login()))
    async with host_of_both.kernel(image_name=image) as kernel:
        assert (await kernel.run("print(6 * 7)"))[1] == "42\n"


@pytest.mark.parametrize("password", [None, "wrong"])
async def test_a_registry_that_does_not_let_the_engine_in(
    host, registry, image, monkeypatch, tmp_path, password
):
    folder = registry.login(password) if password else tmp_path
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    refusal = await host.refusal(image_name=image)
    assert f"The image {image!r} cannot be pulled" in refusal
    assert "no basic auth credentials" in refusal or "unauthorized" in refusal
    assert "wrong" not in refusal


async def test_an_image_that_takes_too_long_is_there_later(
    host, engine, registry, image, monkeypatch
):
    monkeypatch.setenv("DOCKER_CONFIG", str(registry.login()))
    registry.pause()
    try:
        refusal = await host.refusal(image_name=image, launch_timeout=2)
    finally:
        registry.resume()
    assert "still being pulled after 2 seconds" in refusal
    async with host.kernel(image_name=image, launch_timeout=PATIENCE_SECONDS) as kernel:
        assert (await kernel.run("print(6 * 7)"))[1] == "42\n"


@pytest.mark.filterwarnings("ignore:docker-credential-is-not-here")  # the same, by the library
async def test_a_credential_store_that_does_not_answer(host, image, monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text('{"credsStore": "is-not-here"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    refusal = await host.refusal(image_name=image)
    assert "docker-credential-is-not-here" in refusal
    assert f"The image {image!r} cannot be pulled" in refusal
