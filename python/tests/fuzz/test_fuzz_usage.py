"""The files of a container's cgroup give usage that makes sense, or none, whatever is in them."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fuzz.hostile import spoiled
from kernel_launcher.usage import LARGEST, read_usage

CGROUPS = Path(__file__).parents[3] / "launchers" / "protocol" / "cgroups.json"
TREES = [tree["files"] for tree in json.loads(CGROUPS.read_text())["trees"] if tree["files"]]


@st.composite
def trees(draw):
    """Draw the files of a tree, some of which are spoiled or missing."""
    files = {name: text.encode() for name, text in draw(st.sampled_from(TREES)).items()}
    for name in draw(st.lists(st.sampled_from(sorted(files)), max_size=3, unique=True)):
        files[name] = draw(spoiled(files[name]) | st.none())
    return {name: data for name, data in files.items() if data is not None}


@given(trees())
def test_cgroups(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("cgroup")
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    usage = read_usage(root)
    if usage is None:
        return
    assert usage["memory"] is not None or usage["cpu"] is not None
    assert all(type(usage[name]) is int for name in ("memory", "memory_limit") if usage[name])
    assert all(value is None or 0 <= value <= 1e20 for value in usage.values())
    assert all(usage[name] is None or usage[name] <= LARGEST for name in ("memory", "memory_limit"))
