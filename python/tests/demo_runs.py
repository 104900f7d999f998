"""Runs of the demo, and the check of the notebooks that they leave."""

import sys

import nbformat

from ci.paths import ROOT
from programs import program

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
