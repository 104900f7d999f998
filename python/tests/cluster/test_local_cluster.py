"""The program of the local cluster, on a cluster of its own."""

import uuid
from pathlib import Path

import pytest
from host_network import CLUSTER_PROGRAM, local_cluster

from ci.commands import CommandError, run


@pytest.fixture
def name(cluster):
    """The name of one more cluster, which is gone afterwards."""
    local_cluster(cluster)
    name = f"gp-test-{uuid.uuid4().hex[:8]}"
    yield name
    run(CLUSTER_PROGRAM, "--name", name, "down")


async def test_up_after_an_interrupted_down_begins_from_nothing(name):
    run(CLUSTER_PROGRAM, "--name", name, "up")
    kubeconfig = run(CLUSTER_PROGRAM, "--name", name, "kubeconfig")
    state = Path(kubeconfig.strip()).parent
    stuck = state / "images" / "stuck"
    stuck.touch()
    # All goes but this file's folder, as when the program is killed there.
    run("chattr", "+i", stuck)
    try:
        with pytest.raises(CommandError, match="stuck"):
            run(CLUSTER_PROGRAM, "--name", name, "down")
    finally:
        run("chattr", "-i", stuck)
    assert not (state / "containerd").exists()
    with pytest.raises(CommandError, match="being taken down"):
        run(CLUSTER_PROGRAM, "--name", name, "status")

    run(CLUSTER_PROGRAM, "--name", name, "up")

    run(CLUSTER_PROGRAM, "--name", name, "status")
