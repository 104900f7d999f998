"""From each released chart to this one: kernels keep their variables, and clients their token.

Charts are those of the repository's tags, with the images of today: older ones are in no registry that a
test may ask. This chart under an older number is always among them.
"""

import io
import subprocess
import tarfile

import pytest
from chart import CHART

from ci.commands import run
from ci.paths import ROOT, version
from timeouts import TIMEOUT_SECONDS

THIS_CHART = "this chart as 0.0.1"
TAGS = run("git", "-C", ROOT, "tag", "--list", "v*").split() if (ROOT / ".git").exists() else []


@pytest.fixture(params=[THIS_CHART, *TAGS])
def older(request, cluster, tmp_path):
    """The path of an older chart."""
    if request.param == THIS_CHART:
        number = ("--version=0.0.1", "--app-version=0.0.1")
        run(cluster.helm, "package", CHART, *number, "--destination", tmp_path)
        return tmp_path / "gateway-provisioners-0.0.1.tgz"
    files = subprocess.run(
        ["git", "-C", ROOT, "archive", request.param, "charts/gateway-provisioners"],
        capture_output=True,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(files.stdout)) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "charts/gateway-provisioners"


async def test_an_upgrade_of_the_chart_costs_no_variable(new_chart, namespace, older):
    chart = new_chart(namespace, path=older, release="upgraded", image="")
    images = {
        "gateway": {"image": {"tag": version()}},
        "kernels": {"python3": {"image": f"elyra/kernel-py:{version()}"}},
    }
    await chart.install(images)
    token = await chart.token()
    async with chart.gateway() as gateway:
        kernel_id = await gateway.start()
        async with gateway.channels(kernel_id) as kernel:
            await kernel.execute("x = 1")

    await chart.upgrade_to(CHART)
    assert await chart.token() == token
    async with chart.gateway() as gateway, gateway.channels(kernel_id) as kernel:
        assert (await kernel.execute("print(x)")).text == "1\n"

    await chart.rollback()
    async with chart.gateway() as gateway, gateway.channels(kernel_id) as kernel:
        assert (await kernel.execute("print(x + 1)")).text == "2\n"
    await chart.uninstall()
    await namespace.wait_no_kernels()
    gone = ("pods", "-l", "app.kubernetes.io/instance=upgraded")
    await namespace.run("wait", "--for=delete", *gone, f"--timeout={TIMEOUT_SECONDS}s")
