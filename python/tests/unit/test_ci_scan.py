"""ci.scan: the outcomes of a scan, by a program that plays grype; and the real one without a database."""

import json
import tarfile

import pytest

from ci import package, scan
from ci.commands import CommandError, UserError

# Writes its report and ends as the environment says.
GRYPE = """#!/bin/sh
for last; do :; done
echo "$@" >"${last#--output=json=}"
echo "$WORDS" >&2
exit "$CODE"
"""


@pytest.fixture
def grype(tmp_path, monkeypatch):
    program = tmp_path / "grype"
    program.write_text(GRYPE)
    program.chmod(0o755)
    monkeypatch.setenv("CODE", "0")
    monkeypatch.setenv("WORDS", "")
    monkeypatch.setattr(package, "DIST", tmp_path / "dist")
    monkeypatch.setattr(scan, "program", lambda: program)
    (tmp_path / "dist").mkdir()
    return program


def test_each_packaged_image_gets_a_report(grype):
    for name in ("elyra-gateway-1.0.0.tar", "elyra-kernel-r-1.0.0.tar"):
        (package.DIST / name).touch()
    package.package(["scans"])
    report = package.DIST / "elyra-gateway-1.0.0.grype.json"
    assert (
        f"docker-archive:{package.DIST}/elyra-gateway-1.0.0.tar --fail-on=high"
        in report.read_text()
    )
    assert report.name in (package.DIST / "SHA256SUMS").read_text()
    assert (package.DIST / "elyra-kernel-r-1.0.0.grype.json").exists()


def test_without_packaged_images_there_is_nothing_to_scan(grype):
    with pytest.raises(UserError, match="package the part `images` first"):
        package.scans()


@pytest.mark.parametrize(
    ("code", "words", "failure", "message"),
    [
        ("2", "openssl 3.0.1 CVE-1 High", UserError, "vulnerabilities of high or .* CVE-1 High"),
        ("1", "failed to load vulnerability db: none", UserError, "has no current database"),
        ("1", "panic", CommandError, "exit code 1:.*panic"),
    ],
)
def test_a_scan_that_fails_says_why(grype, monkeypatch, tmp_path, code, words, failure, message):
    monkeypatch.setenv("CODE", code)
    monkeypatch.setenv("WORDS", words)
    with pytest.raises(failure, match=f"(?s){message}"):
        scan.scan(grype, tmp_path / "image.tar", tmp_path / "report.json")


@pytest.mark.slow  # grype has hundreds of modules
@pytest.mark.release
def test_the_real_scanner_says_that_it_has_no_database(monkeypatch, tmp_path):
    monkeypatch.setenv("GRYPE_DB_CACHE_DIR", str(tmp_path / "database"))
    monkeypatch.setenv("GRYPE_DB_UPDATE_URL", "http://127.0.0.1:1/latest.json")
    (tmp_path / "manifest.json").write_text(json.dumps([]))
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(tmp_path / "manifest.json", "manifest.json")
    with pytest.raises(
        UserError, match=r"image\.tar cannot be scanned: grype has no current database"
    ):
        scan.scan(scan.program(), tmp_path / "image.tar", tmp_path / "report.json")
