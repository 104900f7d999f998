"""One cluster for all tests; a namespace and a release for each group of them.

The cluster is the one that CLUSTER names (see ci/clusters.py). One that cannot be had is a failure.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from release_fixtures import (  # noqa: F401 - for the tests
    chart,
    cluster,
    gateway,
    kubectl,
    namespace,
    new_chart,
)


def pytest_collection_modifyitems(items):
    # The release outlives a test, and its client's sockets belong to the loop they were made on.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add the gateway's log and the cluster's events to the report of a failed test."""
    report = yield
    release = getattr(item, "funcargs", {}).get("chart")
    if report.failed and release is not None:
        report.sections.extend(release.diagnostics())
    return report
