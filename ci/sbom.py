"""The packages in an image, as a CycloneDX bill of materials: read from its archive, layer by layer.

Debian's packages, Python's and R's distributions, and the Maven artifacts inside of jars. Files that belong
to none of them are left out.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import IO, cast

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

DPKG = "var/lib/dpkg/status"
OS_RELEASE = "usr/lib/os-release"
PYTHON = re.compile(r"/[^/]+\.dist-info/METADATA$")
R = re.compile(r"/R/(site-)?library/[^/]+/DESCRIPTION$")
JAR = re.compile(r"\.jar$")
_POM = re.compile(r"META-INF/maven/.*/pom\.properties$")
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


def bill_of_materials(reference: str, archive: Path) -> str:
    """Return the bill of an image, as JSON; ``archive`` is as ``docker save`` writes it."""
    name, _, version = reference.rpartition(":")
    bom = Bom()
    bom.metadata.component = Component(name=name, version=version, type=ComponentType.CONTAINER)
    for purl in sorted(set(packages(archive)), key=str):
        component = Component(
            bom_ref=str(purl), purl=purl, group=purl.namespace, name=purl.name, version=purl.version
        )
        bom.components.add(component)
    bom.register_dependency(bom.metadata.component, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=2)


def packages(archive: Path) -> Iterator[PackageURL]:
    """Yield the packages in an image; one that several files describe comes more than once."""
    files = _files(archive)
    system = _assignments(files.pop(OS_RELEASE, b"").decode())
    for path, content in files.items():
        if path == DPKG:
            yield from _debian(content.decode(), system)
        elif PYTHON.search(path):
            fields = _fields(content)
            yield PackageURL("pypi", name=fields["Name"].lower(), version=fields["Version"])
        elif R.search(path):
            fields = _fields(content)
            yield PackageURL("cran", name=fields["Package"], version=fields["Version"])
        else:
            yield from _maven(PurePosixPath(path).stem, content)


def _files(archive: Path) -> dict[str, bytes]:
    """The files that describe packages, as the topmost layer has them."""
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as outer:
        [image] = json.load(cast("IO[bytes]", outer.extractfile("manifest.json")))
        for layer in image["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
                for member in inner:
                    _apply(inner, member, found)
    return found


def _apply(layer: tarfile.TarFile, member: tarfile.TarInfo, found: dict[str, bytes]) -> None:
    path = PurePosixPath(member.name.lstrip("./"))
    if path.name.startswith(_WHITEOUT):
        # It hides files of lower layers: its namesake, or everything in its folder.
        gone = path.parent
        if path.name != _OPAQUE:
            gone /= path.name.removeprefix(_WHITEOUT)
        for lower in [each for each in found if PurePosixPath(each).is_relative_to(gone)]:
            del found[lower]
    elif member.isreg() and _describes_package(f"/{path}"):
        found[str(path)] = cast("IO[bytes]", layer.extractfile(member)).read()


def _describes_package(path: str) -> bool:
    return path in {f"/{DPKG}", f"/{OS_RELEASE}"} or any(
        pattern.search(path) for pattern in (PYTHON, R, JAR)
    )


def _fields(content: bytes) -> Message:
    return HeaderParser().parsestr(content.decode(errors="replace"))


def _assignments(text: str) -> dict[str, str]:
    """The lines of the form NAME=VALUE or NAME="VALUE"."""
    lines = (line.split("=", 1) for line in text.splitlines() if re.match(r"\w+=", line))
    return {name: value.strip().strip('"') for name, value in lines}


def _debian(status: str, system: Mapping[str, str]) -> Iterator[PackageURL]:
    """Debian's packages, or Ubuntu's; scanners look for their vulnerabilities by the release."""
    distribution = system.get("ID", "debian")
    release = {"distro": f"{distribution}-{system['VERSION_ID']}"} if "VERSION_ID" in system else {}
    for paragraph in status.split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields["Status"] == "install ok installed":
            yield PackageURL(
                *("deb", distribution, fields["Package"], fields["Version"]),
                qualifiers={"arch": fields["Architecture"], **release},
            )


def _maven(stem: str, content: bytes) -> Iterator[PackageURL]:
    """The artifacts inside of a jar; one that lists none counts by its file name."""
    with zipfile.ZipFile(io.BytesIO(content)) as jar:
        inside = [jar.read(name).decode() for name in jar.namelist() if _POM.search(name)]
    for text in inside:
        named = _assignments(text)
        yield PackageURL("maven", named["groupId"], named["artifactId"], named["version"])
    if not inside:
        name, _, version = re.sub(r"-(\d)", r"@\1", stem, count=1).partition("@")
        yield PackageURL("generic", name=name, version=version or None)
