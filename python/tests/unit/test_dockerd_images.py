"""Images that an engine has to pull: once for all kernels that wait, and to the end."""

import asyncio

import pytest

from gateway_provisioners.dockerd.api import DockerApi
from gateway_provisioners.dockerd.images import Images
from gateway_provisioners.errors import ConfigurationError, EngineError, LaunchFailed
from unit.launches import new_progress


class SlowEngine:
    """Has no image until the test lets a pull of it finish, with `error` if there is one."""

    def __init__(self):
        self.go_on = asyncio.Event()
        self.error = None
        self.pulls = 0
        self.has = set()

    async def image(self, name):
        return {"Id": name} if name in self.has else None

    async def pull(self, name):
        self.pulls += 1
        await self.go_on.wait()
        if self.error:
            raise self.error
        self.has.add(name)

    async def close(self): ...


@pytest.fixture
def engine(monkeypatch):
    engine = SlowEngine()

    async def connect():
        return engine

    monkeypatch.setattr(DockerApi, "connect", connect)
    return engine


def get(images, **options):
    return images.get(
        "acme/x:1",
        **{"pull_policy": "IfNotPresent", "timeout": None, "progress": new_progress(), **options},
    )


async def test_an_image_is_pulled_once_for_all_that_wait(engine):
    images = Images(engine)
    waiting = asyncio.gather(*(get(images) for _ in range(3)))
    await asyncio.sleep(0)
    engine.go_on.set()
    assert await waiting == [{"Id": "acme/x:1"}] * 3
    assert engine.pulls == 1


async def test_the_progress_shows_a_pull_and_only_that(engine):
    images, progress, again = Images(engine), new_progress(), new_progress()
    engine.go_on.set()
    await get(images, progress=progress)
    assert [str(step.stage) for step in progress.steps] == [
        "The engine is pulling the image 'acme/x:1'."
    ]
    await get(images, progress=again)
    assert not again.steps


async def test_a_pull_goes_on_when_no_kernel_waits_for_it(engine):
    images = Images(engine)
    with pytest.raises(LaunchFailed, match="still being pulled after 0 seconds") as failure:
        await get(images, timeout=0)
    assert failure.value.reason == "Timeout"
    waiting = asyncio.create_task(get(images))
    engine.go_on.set()
    assert await waiting == {"Id": "acme/x:1"}
    assert engine.pulls == 1


async def test_a_failed_pull_is_reported_and_tried_again(engine):
    images = Images(engine)
    engine.go_on.set()
    engine.error = EngineError("denied", status=403)
    with pytest.raises(LaunchFailed, match=r"cannot be pulled .*denied"):
        await get(images)
    engine.error = None
    assert await get(images) == {"Id": "acme/x:1"}


async def test_an_image_that_exists_is_pulled_again_only_by_policy(engine):
    images = Images(engine)
    engine.has.add("acme/x:1")
    engine.go_on.set()
    for policy, pulls in {"Never": 0, "IfNotPresent": 0, "Always": 1}.items():
        await get(images, pull_policy=policy)
        assert engine.pulls == pulls


async def test_an_invalid_docker_host(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "/nowhere")
    with pytest.raises(ConfigurationError, match="DOCKER_HOST is not a valid address"):
        await DockerApi.connect()
