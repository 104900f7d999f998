"""The R launcher passes the golden vectors; vectors.R runs in the image, which has R."""

import json
from pathlib import Path

import pytest
from launched import LAUNCHERS

RUNNER = Path(__file__).with_name("vectors.R")


@pytest.mark.attack(16)
def test_vectors(container_of_r, vectors, captured):
    cgroups = json.loads((LAUNCHERS / "protocol" / "cgroups.json").read_text())
    said = container_of_r.rscript(RUNNER, container_of_r.share(LAUNCHERS / "protocol"))
    names = {
        "report": [entry["name"] for entry in vectors["reports"] + captured["reports"]],
        "command": [entry["name"] for entry in vectors["commands"]],
        "captured command": captured["commands"],
        "reply": [entry["name"] for entry in vectors["replies"]],
        "invalid command": vectors["invalid_commands"]["lines"],
        "kernel id": map(len, vectors["kernel_ids"]["valid"]),
        "invalid kernel id": map(len, vectors["kernel_ids"]["invalid"]),
        "usage": [tree["name"] for tree in cgroups["trees"]],
        "derived keys": [entry["kernel_id"] for entry in vectors["derived_keys"]],
    }
    assert said.splitlines() == [
        f"{kind}: {name}" for kind, entries in names.items() for name in entries
    ]
