"""`make demo` and `make clean-demo`, as they are run, in a namespace of the test's own."""

import asyncio
import json
import re
import sys
import uuid

import nbformat
import pytest

from ci.gateway_access import Release
from ci.paths import ROOT

# At least so many a notebook draws.
PICTURES = {"cars": 2, "licences": 3, "wine": 3}
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))


async def demo(*arguments):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ci.demo", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.fixture
async def namespace(kubectl):
    """A namespace that the demo makes."""
    name = f"gp-test-demo-{uuid.uuid4().hex[:8]}"
    yield name
    await kubectl("delete", "namespace", name, "--ignore-not-found")


async def test_the_demo_runs_every_notebook_and_says_how_to_go_on(cluster, kubectl, namespace):
    said = await demo("--namespace", namespace)
    made = json.loads(await kubectl("get", "namespace", namespace, "--output=json"))
    assert made["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert NOTEBOOKS
    for notebook in NOTEBOOKS:
        result, page = (
            ROOT / "build/demo" / f"{notebook.stem}{end}" for end in (".ipynb", ".html")
        )
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
    assert Release(cluster, namespace, "gateway").token() not in said
    # What is run next is what was printed.
    [command] = re.findall(r"Each open notebook is a pod: kubectl (.*)", said)
    assert (await kubectl(*command.split(), "--output=name")).startswith("pod/gateway-")

    await demo("clean", "--namespace", namespace)
    assert await kubectl("get", "namespace", namespace, "--ignore-not-found") == ""
