"""The example notebooks, as they are kept."""

import nbformat
import pytest

from ci import demo
from ci.demo_notebooks import CUSTOM, OWN_KERNELS
from ci.notebooks import kernel_name
from ci.paths import ROOT

NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_valid_and_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert kernel_name(path) in {CUSTOM, *OWN_KERNELS}
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [cell.id for cell in cells if cell.outputs or cell.execution_count]


@pytest.mark.parametrize("verb", ["run", "clean"])
def test_the_demo_refuses_an_engine_that_it_does_not_know(verb, monkeypatch, capsys):
    monkeypatch.setenv("ENGINE", "podman")
    monkeypatch.setattr("sys.argv", ["demo", verb])
    assert demo.main() == 1
    error = capsys.readouterr().err
    assert error == "error: ENGINE=podman is not supported; use kubernetes or docker\n"
