"""The usage that the Python launcher reads from cgroups: recorded ones, and this machine's."""

import json
from pathlib import Path

import pytest

from kernel_launcher import usage

CGROUPS = Path(__file__).parents[3] / "launchers" / "protocol" / "cgroups.json"
TREES = json.loads(CGROUPS.read_text())["trees"]
V2 = TREES[0]


@pytest.fixture
def laid_out(tmp_path):
    def lay_out(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return lay_out


@pytest.mark.parametrize("tree", [pytest.param(tree, id=tree["name"]) for tree in TREES])
def test_recorded_files(laid_out, tree):
    assert usage.read_usage(laid_out(tree["files"])) == tree["usage"]


def test_the_files_of_this_machine():
    read = usage.read_usage()
    assert read is not None
    assert read["cpu"] > 0


def test_only_the_beginning_of_a_long_file_is_read(laid_out, monkeypatch):
    monkeypatch.setattr(usage, "LONGEST_FILE", 1000)
    long = "1:name=x:/\n" * 99
    assert (
        usage.read_usage(laid_out({**V2["files"], "proc/self/cgroup": "0::/\n" + long}))
        == V2["usage"]
    )
    assert usage.read_usage(laid_out({**V2["files"], "proc/self/cgroup": long + "0::/\n"})) is None


def test_files_that_are_not_text(laid_out):
    root = laid_out(V2["files"])
    (root / "sys/fs/cgroup/memory.current").write_bytes(b"\xff\0\n")
    assert usage.read_usage(root) == {**V2["usage"], "memory": None}
