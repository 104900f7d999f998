"""Make what a release publishes, in dist/: wheels, sdists, chart, images, their bills and scans, the notes.

Run as ``python -m ci.package [PART ...]``. HELM_SIGN_KEY is the name of a key in the keyring HELM_KEYRING:
with it, the chart's archive gets its provenance beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from ci import images, labextension, sbom, scala_launcher, scan
from ci.commands import UserError, exit_code, run
from ci.paths import ROOT, version
from ci.progress import say, step

DIST = ROOT / "dist"
SUMS = "SHA256SUMS"
CHART = ROOT / "charts/gateway-provisioners"
IMAGES = (images.KERNEL_PY, images.KERNEL_R, images.KERNEL_SCALA, images.GATEWAY)


def distributions() -> None:
    """Build the wheels and the sdists: of the package, and of the one for clients."""
    scala_launcher.ensure()  # parts of them
    labextension.ensure()
    uv = Path(sys.executable).with_name("uv")
    for project in (ROOT / "python", ROOT / "python/client"):
        run(uv, "build", "--quiet", project, "--out-dir", DIST)


def chart() -> None:
    """Make the chart's archive, signed where there is a key."""
    helm = shutil.which("helm") or f"{run(ROOT / 'ci/cluster/cluster.sh', 'bin').strip()}/helm"
    signature: list[str] = []
    if key := os.environ.get("HELM_SIGN_KEY"):
        signature = ["--sign", "--key", key]
        if keyring := os.environ.get("HELM_KEYRING"):
            signature += ["--keyring", keyring]
    run(helm, "package", CHART, "--destination", DIST, *signature)


def image_archives() -> None:
    """Copy the images' archives, and write a bill of materials beside each."""
    for built in images.archives(IMAGES, release=True):
        stem = built.reference.replace("/", "-").replace(":", "-")
        shutil.copy(built.archive, DIST / f"{stem}.tar")
        bill = sbom.bill_of_materials(built.reference, built.archive)
        (DIST / f"{stem}.cdx.json").write_text(bill)


def scans() -> None:
    """Look for known vulnerabilities in the images that were packaged, and write a report on each."""
    archives = sorted(DIST.glob("elyra-*.tar"))
    if not archives:
        raise UserError(f"no image to scan is in {DIST}: package the part `images` first")
    grype = scan.program()
    for archive in archives:
        scan.scan(grype, archive, archive.with_suffix(".grype.json"))


def notes() -> None:
    """Write the changelog's section of this version."""
    (DIST / "release-notes.md").write_text(release_notes())


def release_notes(wanted: str = "") -> str:
    """Return the changelog's section of a version, without its heading; of this one by default."""
    wanted = wanted or version()
    sections = re.split(
        r"^## \[(.+?)\].*\n", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE
    )
    found = dict(zip(sections[1::2], sections[2::2], strict=True))
    if wanted not in found:
        raise UserError(f"CHANGELOG.md has no section for {wanted}, the version of _version.py")
    return found[wanted].strip() + "\n"


PARTS = {
    "distributions": distributions,
    "chart": chart,
    "images": image_archives,
    "scans": scans,
    "notes": notes,
}


def package(parts: list[str]) -> None:
    """Make the parts that are named, or all, and print the checksum of each file."""
    if unknown := [part for part in parts if part not in PARTS]:
        raise UserError(f"no part is called {unknown[0]}; use one of: {', '.join(PARTS)}")
    if not parts and DIST.exists():
        shutil.rmtree(DIST)  # of another version, perhaps
    DIST.mkdir(exist_ok=True)
    for part in parts or PARTS:
        with step(f"Package the {part}"):
            PARTS[part]()
    files = sorted(path for path in DIST.iterdir() if path.name[0] != "." and path.name != SUMS)
    sums = "".join(f"{_sum(file)}  {file.name}\n" for file in files)
    (DIST / SUMS).write_text(sums)
    say(sums.rstrip())


def _sum(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def main() -> int:
    """Package what a release publishes."""
    parser = argparse.ArgumentParser(prog="python -m ci.package", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all"
    )
    parts = parser.parse_args().parts
    return exit_code(lambda: package(parts))


if __name__ == "__main__":
    sys.exit(main())
