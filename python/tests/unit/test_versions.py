"""One version for the wheel, the chart and the images."""

import yaml

from ci.paths import ROOT
from gateway_provisioners import __version__


def test_the_chart_has_the_packages_version():
    chart = yaml.safe_load((ROOT / "charts/gateway-provisioners/Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_the_example_stands_on_this_version():
    assert f"ARG VERSION={__version__}\n" in (ROOT / "examples/data-sci-py/Dockerfile").read_text()
