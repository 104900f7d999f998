"""Writes the version of the package into all places that repeat it: the chart, Dockerfiles and pages."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What Python's and Helm's rules for versions have in common.
VERSION = r"\d+\.\d+\.\d+"
PLACES = (
    "README.md",
    "charts",
    "ci/peer",
    "docs",
    "examples",
    "images",
    "python/README.md",
    "python/client/gateway_provisioners_client/_version.py",
    "python/client/labextension/package-lock.json",
    "python/client/labextension/package.json",
    "python/pyproject.toml",
)
# By the end of a file's name: the text before the version.
BEFORE = {
    "Dockerfile": r"^ARG VERSION=",
    "Chart.yaml": r'^(?:version: |appVersion: "|      image: elyra/[a-z-]+:)',
    "compose.yaml": r"\belyra/[a-z-]+:",
    "package-lock.json": r'"name": "gateway-provisioners-client",\n +"version": "',
    "package.json": r'"name": "gateway-provisioners-client",\n +"version": "',
    "_version.py": r'^__version__ = "',
    "pyproject.toml": r'^client = \["gateway-provisioners-client==',
    ".md": r"\belyra/[a-z-]+:|is the one of gateway_provisioners ",
}


def current() -> str:
    """Return the version of the package."""
    text = (ROOT / "python/gateway_provisioners/_version.py").read_text()
    [version] = re.findall(rf'"({VERSION})"', text)
    return str(version)


def main() -> None:
    """Write the version into every file that names another."""
    for place in PLACES:
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            for suffix, before in BEFORE.items():
                if file.name.endswith(suffix):
                    old = file.read_text()
                    pattern = rf"({before}){VERSION}"
                    new = re.sub(pattern, rf"\g<1>{current()}", old, flags=re.MULTILINE)
                    if new != old:
                        file.write_text(new)


if __name__ == "__main__":
    main()
