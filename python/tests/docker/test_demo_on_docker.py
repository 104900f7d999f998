"""`make demo ENGINE=docker` and its `make clean-demo`, as they are run, on an engine of the demo's own."""

import asyncio
import uuid
from pathlib import Path

import pytest

from ci.compose import Project
from ci.docker_engine import DockerEngine
from ci.dockerd import Dockerd
from ci.paths import ROOT
from demo_runs import check_results, demo, jupyterlab_as_printed, printed_commands
from timeouts import eventually


@pytest.fixture
async def name(monkeypatch):
    """Of everything that the demo makes."""
    monkeypatch.delenv("ENGINE_HOST", raising=False)
    name = f"gp-test-demo-{uuid.uuid4().hex[:8]}"
    yield name
    await demo("clean", "--namespace", name, ENGINE="docker")


async def test_the_demo_runs_every_notebook_and_leaves_nothing(name, tmp_path, unused_tcp_port):
    said = await demo("--namespace", name, ENGINE="docker")
    check_results(said, ROOT / "build/demo-docker")
    own, folder = Dockerd(name), ROOT / "build" / name
    engine = DockerEngine(own.host, own.addresses.host)
    project = Project(engine, name, folder)
    assert project.token not in said
    commands = printed_commands(said)
    async with (
        jupyterlab_as_printed(tmp_path, *commands, port=unused_tcp_port) as lab,
        lab.kernel("custom") as kernel,
    ):
        assert (await kernel.execute("print(6 * 7)")).text.endswith("42\n")

    async def only_the_demo_is_left():
        left = await asyncio.to_thread(engine.cli, "ps", "--format", "{{.Names}}")
        return sorted(left.split()) == [f"{name}-engine-1", f"{name}-gateway-1"]

    # Kernels end with their notebooks. JupyterLab may be faster: a watcher ends what it leaves.
    await eventually(only_the_demo_is_left)

    await demo("clean", "--namespace", name, ENGINE="docker")
    assert not own.folder.exists()
    assert not folder.exists()
    assert not (Path("/run/netns") / name).exists()
