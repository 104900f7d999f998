"""ci.builders: buildah, by a program that plays it. The real builders are tested in tests/docker."""

import pytest

from ci.builders import Buildah
from ci.commands import CommandError

# Fails as often as the file `failures` has lines, and then prints its last argument.
BUILDAH = """#!/bin/sh
if [ -s "$FAILURES" ]; then
  head -n 1 "$FAILURES" >&2
  sed -i 1d "$FAILURES"
  exit 1
fi
for last; do :; done
echo "$last"
"""
BUSY = "Close_Fd sealing memfd copy: Device or resource busy\n"


@pytest.fixture
def failures(tmp_path, monkeypatch):
    program = tmp_path / "buildah"
    program.write_text(BUILDAH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    file = tmp_path / "failures"
    monkeypatch.setenv("FAILURES", str(file))
    return file


def test_a_copy_that_cannot_be_sealed_yet_is_sealed_again(failures):
    failures.write_text(2 * BUSY)
    assert Buildah().image_id("elyra/x:1") == "elyra/x:1"
    assert failures.read_text() == ""


def test_sealing_is_tried_a_bounded_number_of_times(failures, tmp_path):
    failures.write_text(9 * BUSY)
    with pytest.raises(CommandError, match="sealing memfd copy"):
        Buildah().build(tmp_path, "elyra/x:1", "inputs", {}, {})
    assert failures.read_text() == 4 * BUSY


def test_no_other_failure_of_a_build_is_repeated(failures, tmp_path):
    failures.write_text("no space left on device\nno space left on device\n")
    with pytest.raises(CommandError, match="no space left"):
        Buildah().build(tmp_path, "elyra/x:1", "inputs", {}, {})
    assert failures.read_text() == "no space left on device\n"
