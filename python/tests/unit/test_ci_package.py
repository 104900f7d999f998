"""ci.package and ci.sbom: the notes of a release, and the packages in an image."""

import io
import json
import subprocess
import tarfile
import zipfile

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ci import package, sbom
from ci.commands import UserError
from gateway_provisioners import __version__

DPKG = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
POM = "#Created by Maven\nversion=3.4.4\ngroupId=org.apache.spark\nartifactId=spark-core_2.12\n"


def tar(files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def jar(**files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def metadata(name, version):
    return f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n\nWords.\n".encode()


@pytest.fixture
def image(tmp_path):
    """Write an image of these layers, the lowest first, and return its archive."""

    def write(*layers):
        names = [f"{number}.tar" for number in range(len(layers))]
        manifest = json.dumps([{"Layers": names}]).encode()
        archive = tmp_path / "image.tar"
        files = {name: tar(layer) for name, layer in zip(names, layers, strict=True)}
        archive.write_bytes(tar({"manifest.json": manifest, **files}))
        return archive

    return write


def found(archive):
    return sorted({str(purl) for purl in sbom.packages(archive)})


def test_packages_of_every_kind_are_found(image):
    site = "usr/lib/python3/dist-packages"
    archive = image(
        {
            "./var/lib/dpkg/status": DPKG.encode(),
            f"{site}/PyYAML-6.0.3.dist-info/METADATA": metadata("PyYAML", "6.0.3"),
            "usr/lib/R/site-library/IRkernel/DESCRIPTION": b"Package: IRkernel\nVersion: 1.3.2\n",
            "opt/spark/jars/spark.jar": jar(**{"META-INF/maven/a/b/pom.properties": POM}),
            "opt/spark/jars/old-2.0.jar": jar(a=""),
            "etc/passwd": b"root",
        }
    )
    assert found(archive) == [
        "pkg:cran/IRkernel@1.3.2",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64",
        "pkg:generic/old@2.0",
        "pkg:maven/org.apache.spark/spark-core_2.12@3.4.4",
        "pkg:pypi/pyyaml@6.0.3",
    ]


def test_debian_packages_are_named_after_the_images_own_release(image):
    ubuntu = b'NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="24.04"\n'
    archive = image({"usr/lib/os-release": ubuntu}, {"var/lib/dpkg/status": DPKG.encode()})
    [package] = found(archive)
    assert package == "pkg:deb/ubuntu/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=ubuntu-24.04"


def test_upper_layers_replace_and_take_away(image):
    lower = {
        "lib/a-1.dist-info/METADATA": metadata("a", "1"),
        "lib/b-1.dist-info/METADATA": metadata("b", "1"),
        "opt/c-1.dist-info/METADATA": metadata("c", "1"),
    }
    upper = {
        "lib/a-1.dist-info/METADATA": metadata("a", "2"),
        "lib/.wh.b-1.dist-info": b"",
        "opt/.wh..wh..opq": b"",
        "opt/d-1.dist-info/METADATA": metadata("d", "1"),
    }
    assert found(image(lower, upper)) == ["pkg:pypi/a@2", "pkg:pypi/d@1"]


def test_the_bill_is_valid_and_names_the_image(image):
    archive = image({"lib/a-1.dist-info/METADATA": metadata("a", "1")})
    text = sbom.bill_of_materials("elyra/gateway:1.0.0", archive)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    image_component = bill["metadata"]["component"]
    assert (image_component["name"], image_component["version"]) == ("elyra/gateway", "1.0.0")
    assert [item["purl"] for item in bill["components"]] == ["pkg:pypi/a@1"]


def test_parts_are_made_with_their_sums(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "DIST", tmp_path / "dist")
    package.package(["chart", "notes"])
    made = {path.name for path in package.DIST.iterdir()}
    assert made == {f"gateway-provisioners-{__version__}.tgz", "release-notes.md", "SHA256SUMS"}
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    checked = subprocess.run(check, cwd=package.DIST, capture_output=True, text=True, check=True)
    assert checked.stdout.count(": OK") == 2


def test_an_unknown_part_is_refused():
    with pytest.raises(UserError, match=r"^no part is called wheel; use one of: distributions, ch"):
        package.package(["wheel"])


def test_release_notes_are_the_changelogs_section():
    notes = package.release_notes()
    assert notes.startswith("The first version.") or __version__ != "1.0.0"
    assert "## [" not in notes
    with pytest.raises(UserError, match=r"^CHANGELOG\.md has no section for 0\.0\.1"):
        package.release_notes("0.0.1")
