"""One version for the wheel, the chart and the images."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from ci import package
from ci.paths import ROOT
from gateway_provisioners import __version__


def test_the_chart_has_the_packages_version():
    chart = yaml.safe_load((ROOT / "charts/gateway-provisioners/Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_the_chart_names_the_images_that_a_release_publishes():
    chart = yaml.safe_load((ROOT / "charts/gateway-provisioners/Chart.yaml").read_text())
    named = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    assert [item["image"] for item in named] == [
        f"elyra/{name}:{__version__}"
        for name in ("gateway", "kernel-py", "kernel-r", "kernel-scala")
    ]
    assert {item["image"] for item in named} == {image.reference for image in package.IMAGES}


def test_a_new_version_reaches_every_place(tmp_path):
    """In a copy; `make lint` makes sure that it has reached them here."""
    for name in ("README.md", "ci", "charts", "docs", "examples", "images", "python/README.md"):
        source = ROOT / name
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    shutil.copytree(
        ROOT / "python/gateway_provisioners",
        tmp_path / "python/gateway_provisioners",
        symlinks=True,
    )
    client = Path("python/client")
    more = ("labextension/package.json", "labextension/package-lock.json")
    for name in (*more, "gateway_provisioners_client/_version.py", "../pyproject.toml"):
        (tmp_path / client / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / client / name, tmp_path / client / name)
    (tmp_path / "python/gateway_provisioners/_version.py").write_text('__version__ = "3.14.15"\n')
    subprocess.run([sys.executable, tmp_path / "ci/update/versions.py"], check=True)
    chart = yaml.safe_load((tmp_path / "charts/gateway-provisioners/Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == "3.14.15"
    version = tmp_path / client / "gateway_provisioners_client/_version.py"
    assert version.read_text() == '__version__ = "3.14.15"\n'
    base = (tmp_path / "python/pyproject.toml").read_text()
    assert '\nclient = ["gateway-provisioners-client==3.14.15"]\n' in base
    package_json = json.loads((tmp_path / client / "labextension/package.json").read_text())
    assert package_json["version"] == "3.14.15"
    ours = re.compile(rf"(elyra/[a-z-]+:|ARG VERSION=){re.escape(__version__)}")
    for place in ("README.md", "charts", "docs", "examples", "images"):
        for file in (
            (tmp_path / place).rglob("*") if (tmp_path / place).is_dir() else [tmp_path / place]
        ):
            if file.suffix not in {".png", ".svg"} and file.is_file():
                assert not ours.search(file.read_text()), file
