"""Runs of the demo, and the check of the notebooks that they leave."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys

import aiohttp
import nbformat

from ci.gateway_client import Gateway
from ci.paths import ROOT
from programs import program
from timeouts import eventually

# The least number of pictures in a notebook.
PICTURES = {"cars": 2, "licences": 3, "wine": 3}
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))


async def demo(*arguments, **variables):
    """Run the demo; return its output."""
    return await program(sys.executable, "-m", "ci.demo", *arguments, cwd=ROOT, **variables)


def check_results(said, folder):
    """Check that every notebook has run to its end, without an error and with its pictures."""
    assert NOTEBOOKS
    for notebook in NOTEBOOKS:
        result, page = (folder / f"{notebook.stem}{end}" for end in (".ipynb", ".html"))
        assert f"  {result}\n  {page}\n" in said
        executed = nbformat.read(result, as_version=4)
        cells = [cell for cell in executed.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        outputs = [output for cell in cells for output in cell.outputs]
        assert not [output for output in outputs if output.output_type in ("error", "stream")]
        data = [mime for output in outputs for mime in output.get("data", {})]
        assert "text/html" in data
        pictures = [mime for mime in data if mime.startswith("image/")]
        assert len(pictures) >= PICTURES[notebook.stem]
        assert page.read_text().count("data:image/") >= PICTURES[notebook.stem]


def printed_commands(said):
    """Return the lines that the demo prints to go on with JupyterLab, in their order."""
    after = said.partition("\nGo on with JupyterLab")[2]
    return re.findall(r"^  (\S.*)$", after, flags=re.MULTILINE)


@contextlib.asynccontextmanager
async def shell(*lines, **environment):
    """Run lines in a shell, as in a terminal that is closed at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-e", "-c", "\n".join(lines)),
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()
        await eventually(lambda: has_ended(process.pid))


async def has_ended(group):
    """Return whether no process of the group is left: a server takes longer than its shell."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@contextlib.asynccontextmanager
async def jupyterlab_as_printed(folder, *lines, port, **environment):
    """Run the lines that the demo printed; yield a client of the JupyterLab that they start.

    Only its configuration is of the test: no browser, a free port, no token, nothing outside of the folder.
    """
    server = {"open_browser": False, "port": port, "port_retries": 0, "disable_check_xsrf": True}
    config = {"ServerApp": server, "IdentityProvider": {"token": ""}}
    (folder / "config").mkdir()
    (folder / "config/jupyter_server_config.json").write_text(json.dumps(config))
    names = (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
    )
    folders = {name: str(folder / name) for name in names}
    folders["JUPYTER_CONFIG_DIR"] = str(folder / "config")
    async with (
        shell(*lines, **{**folders, **environment}) as process,
        Gateway(f"http://127.0.0.1:{port}", "") as client,
    ):
        await eventually_answers(client.url, process)
        yield client


async def eventually_answers(url, process):
    """Wait until a server answers, whatever it says; fail if the program ends."""

    async def answers():
        assert process.returncode is None, "the program has ended"
        with contextlib.suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as session, session.get(f"{url}/api"):
                return True
        return False

    await eventually(answers)
