"""`make demo ENGINE=docker`: the demo's notebooks in containers, by a gateway of examples/docker.

On the engine that ENGINE_HOST names, or else on one of the demo's own, which goes with it.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from ci import docker_engine, images
from ci.compose import IMAGES, Project
from ci.demo_clients import jupyterlab_line, remove_kernelspecs
from ci.demo_notebooks import CUSTOM, OWN_KERNELS, SCALA_VARIABLES, run_notebooks
from ci.docker_engine import DockerEngine
from ci.dockerd import Dockerd
from ci.gateway_access import free_port
from ci.paths import ROOT
from ci.progress import say, step

RESULTS = ROOT / "build/demo-docker"
TITLES = {"python3": "Python 3", "r": "R", "scala": "Scala"}


def _project(engine: DockerEngine, name: str) -> Project:
    return Project(engine, name, ROOT / "build" / name)


def _add_kernels(project: Project) -> None:
    for name, image in OWN_KERNELS.items():
        language = "python" if name == "python3" else name
        project.add_kernel(name, image.reference, TITLES[name], language)
    project.add_kernel(CUSTOM, images.DATA_SCI_PY.reference, "Data Science 2.0")
    file = project.folder / "kernelspecs/scala/kernel.json"
    spec = json.loads(file.read_text())
    spec["env"] = {**SCALA_VARIABLES, "KERNEL_SPARK_CONTEXT_INIT_MODE": "lazy"}
    spec["metadata"]["kernel_provisioner"]["config"]["launch_timeout"] = 60
    file.write_text(json.dumps(spec, indent=2))


def _print_next_steps(project: Project, results: Sequence[Path]) -> None:
    listed = "\n".join(f"  {path}" for path in results)
    say(
        f"""
Executed, with all outputs:
{listed}

Go on with JupyterLab: install the gateway's kernels beside your local ones, and start it:
  export JUPYTER_GATEWAY_AUTH_TOKEN="$(sed -n s/^KG_AUTH_TOKEN=//p {project.folder}/.env)"
  {jupyterlab_line(project.gateway_url(), RESULTS, results[0])}

Each open notebook is a container: docker --host {project.engine.host} ps
Take everything down: make clean-demo ENGINE=docker"""
    )


def demo(name: str) -> None:
    """Bring everything up, execute the notebooks, print where the results are.

    Both the project and an engine of the demo's own have that name.
    """
    start = time.monotonic()
    say("Gateway Provisioners: notebooks on kernels in Docker containers")
    remove_kernelspecs(RESULTS)  # of a demo before, whose gateway had another port
    engine = docker_engine.ensure(Dockerd(name))
    wanted = [*IMAGES, *OWN_KERNELS.values(), images.DATA_SCI_PY]
    engine.load(images.archives(wanted))
    project = _project(engine, name)
    project.write_files(free_port())
    with step(f"docker compose up ({project.folder.relative_to(ROOT)})"):
        project.up()
    with step("jupyter docker-spec install, for each kernel"):
        _add_kernels(project)
    results = run_notebooks(
        project.gateway_url(),
        project.token,
        RESULTS,
        "in a container",
        lambda: project.compose("logs", "--no-log-prefix", "--tail=10", "gateway"),
    )
    say(f"  done in {time.monotonic() - start:.0f} s")
    _print_next_steps(project, results)


def clean(name: str) -> None:
    """Remove the project with its kernels, and the engine if it is the demo's own."""
    remove_kernelspecs(RESULTS)
    own = Dockerd(name)
    if docker_engine.named() or own.answers():
        project = _project(docker_engine.ensure(own), name)
        if project.folder.exists():
            with step("docker compose down, and its kernels with it"):
                project.down()
    if not docker_engine.named():
        own.down()
    shutil.rmtree(ROOT / "build" / name, ignore_errors=True)  # of an engine that is gone already
