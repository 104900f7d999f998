"""Let an image's build reach package registries as this machine does, and leave nothing of it in the image.

Where a machine trusts a certificate authority of its own, or uses its own package index, a RUN step
has to as well. Both are mounted for the build only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

# Debian's certificate bundle, which pip, apt and OpenSSL read in an image.
IMAGE_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
IMAGE_PIP_CONF = "/etc/pip.conf"
IMAGE_APT_SOURCES = "/etc/apt/sources.list.d/build.list"
# The folder of our wheel during a build, and of the constraint that has pip take it.
IMAGE_WHEELS = "/var/tmp"  # noqa: S108 - in the image

_CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "timeout", "retries")


def _pip_settings() -> dict[str, str]:
    """Return pip's settings on this machine, from its files and its environment."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        # For example: global.index-url='...' and, for PIP_INDEX_URL, :env:.index-url='...'
        key, _, value = line.partition("=")
        if key.startswith(("global.", "install.", ":env:.")):
            settings[key.rpartition(".")[2]] = value.strip("'")
    return settings


def _ca_bundle(settings: Mapping[str, str]) -> Path | None:
    named = [os.environ[name] for name in _CA_VARIABLES if os.environ.get(name)]
    named += [settings["cert"]] if "cert" in settings else []
    return next((Path(name) for name in named if Path(name).is_file()), None)


@contextmanager
def build_mounts(apt_sources: str = "", wheel: Path | None = None) -> Iterator[dict[str, Path]]:
    """Yield the files to mount during a build, as {path in the image: file here}.

    ``apt_sources`` are for a Debian that has none. With ``wheel``, pip takes that one for its package, not
    the index's. Without both, and on a machine without settings of its own, nothing is mounted.
    """
    settings = _pip_settings()
    bundle = _ca_bundle(settings)
    lines = [f"{key} = {settings[key]}" for key in _PIP_KEYS if key in settings]
    mounts: dict[str, Path] = {}
    if bundle is not None:
        mounts[IMAGE_CA_BUNDLE] = bundle.resolve()
        lines.append(f"cert = {IMAGE_CA_BUNDLE}")
    with TemporaryDirectory(prefix="gateway-provisioners-") as folder:

        def mount(target: str, text: str) -> None:
            mounts[target] = Path(folder) / Path(target).name
            mounts[target].write_text(text)

        if apt_sources:
            mount(IMAGE_APT_SOURCES, apt_sources)
        if wheel is not None:
            mounts[f"{IMAGE_WHEELS}/{wheel.name}"] = wheel
            constraints = f"{IMAGE_WHEELS}/gateway-provisioners-constraints.txt"
            package = wheel.name.partition("-")[0]
            mount(constraints, f"{package} @ file://{IMAGE_WHEELS}/{wheel.name}\n")
            lines.append(f"constraint = {constraints}")
        if lines:
            mount(IMAGE_PIP_CONF, "\n".join(["[global]", "no-cache-dir = true", *lines, ""]))
        yield mounts
