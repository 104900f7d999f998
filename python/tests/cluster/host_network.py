"""The address at which pods reach programs that a test runs on this host."""

import json

import pytest

from ci.commands import run
from ci.paths import ROOT

CLUSTER_PROGRAM = ROOT / "ci" / "cluster" / "cluster.sh"


def local_cluster(cluster):
    """Return the status that ci/cluster gives of the local cluster.

    Skips where the cluster is another one: its API server is not ours to stop, and its pods cannot dial
    this host.
    """
    if cluster.choice != "local":
        pytest.skip(
            f"CLUSTER={cluster.choice}: not ours to break, and its pods cannot dial this host"
        )
    return json.loads(run(CLUSTER_PROGRAM, "status", "--json"))
