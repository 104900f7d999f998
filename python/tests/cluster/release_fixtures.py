"""The cluster, namespaces and releases, as fixtures that suites import into their conftest.py."""

from __future__ import annotations

import uuid

import pytest
import pytest_asyncio
from chart import CHART, Chart
from kubectl import Kubectl, Namespace

from ci import clusters, images


@pytest.fixture(scope="session")
def cluster():
    """The cluster, with the product's images on it."""
    cluster = clusters.ensure()
    cluster.load(built.archive for built in images.ensure())
    return cluster


@pytest.fixture(scope="session")
def kubectl(cluster):
    return Kubectl(cluster.kubectl, cluster.kubeconfig)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def namespace(kubectl):
    namespace = Namespace(kubectl, f"gp-test-{uuid.uuid4().hex[:8]}")
    await namespace.create()
    yield namespace
    await namespace.delete()


@pytest.fixture(scope="session")
def new_chart(cluster, kubectl):
    """A function that returns a release, not installed yet."""

    def make(namespace, *, path=CHART, release="gateway", image=images.KERNEL_PY.reference):
        return Chart(
            helm=cluster.helm,
            kubectl=kubectl,
            namespace=namespace,
            path=path,
            release=release,
            image=image,
        )

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chart(new_chart, namespace):
    chart = new_chart(namespace)
    await chart.install({"gateway": {"logLevel": "DEBUG"}})
    yield chart
    await chart.uninstall()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(chart):
    async with chart.gateway() as gateway:
        yield gateway
