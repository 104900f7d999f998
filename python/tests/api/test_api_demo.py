"""The line with which the demo ends, as it is printed, with a gateway of this process."""

import shlex
import sys
from pathlib import Path

import pytest

from ci import demo_clients
from ci.demo_clients import jupyterlab_line, remove_kernelspecs
from demo_runs import jupyterlab_as_printed, printed_commands
from notebook_client import write_notebook

# As the demo has it, also in a folder whose name a shell would split.
FOLDER = "the demo's"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / FOLDER).mkdir()
    return tmp_path / FOLDER


async def test_the_line_installs_the_kernels_and_starts_jupyterlab(
    gateway, folder, tmp_path, unused_tcp_port
):
    notebook = folder / "a notebook.ipynb"
    write_notebook(notebook, "1")
    line = jupyterlab_line(gateway.client.url, folder, notebook)
    token = f"export JUPYTER_GATEWAY_AUTH_TOKEN={gateway.client.token}"
    async with jupyterlab_as_printed(tmp_path, token, line, port=unused_tcp_port) as lab:
        specs = (await lab.request("GET", "/api/kernelspecs"))["kernelspecs"]
        # The gateway has both as well; those of this machine stay.
        assert {"local", "demo-local", "python3", "demo-python3"} <= specs.keys()
        async with lab.kernel("demo-local") as kernel:
            assert (await kernel.execute("print(6 * 7)")).text.endswith("42\n")
            assert len(await gateway.client.kernels()) == 1
    await gateway.without_kernels()


def test_the_kernelspecs_are_removed_and_nothing_else(folder):
    kernel = folder / "jupyter/share/jupyter/kernels/custom/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.touch()
    (folder / "wine.ipynb").touch()
    remove_kernelspecs(folder)
    assert [each.name for each in folder.iterdir()] == ["wine.ipynb"]
    remove_kernelspecs(folder)


@pytest.mark.parametrize(("user", "option"), [(0, ["--allow-root"]), (1000, [])])
def test_jupyterlab_may_run_as_root_only_if_it_has_to(folder, monkeypatch, user, option):
    monkeypatch.setattr(demo_clients.os, "geteuid", lambda: user)
    words = shlex.split(jupyterlab_line("http://localhost:1", folder, folder / "a.ipynb"))
    lab = words[words.index("&&") + 1 :]
    programs = Path(sys.executable).parent
    assert lab == [
        *("env", f"JUPYTER_PATH={folder}/jupyter/share/jupyter"),
        *(f"{programs}/jupyter-lab", *option, f"{folder}/a.ipynb"),
    ]


def test_the_lines_to_go_on_with_are_found():
    said = (
        "Executed:\n  a.ipynb\n\nGo on with JupyterLab, so:\n  export A=1\n2. then:\n  b c\n\nEnd"
    )
    assert printed_commands(said) == ["export A=1", "b c"]
