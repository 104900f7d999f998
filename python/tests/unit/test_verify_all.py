"""ci/verify/all.sh: every check runs, every failure is reported, and the exit code says so."""

import shutil
import subprocess
from pathlib import Path

import pytest

ALL = Path(__file__).parents[3] / "ci" / "verify" / "all.sh"


@pytest.fixture
def verify(tmp_path):
    """Run a copy of all.sh beside the checks of this test; return (exit code, stdout, stderr)."""
    shutil.copy(ALL, tmp_path)

    def run(*arguments, **checks):
        for name, body in checks.items():
            script = tmp_path / f"{name}.sh"
            script.write_text(f"#!/bin/sh\n{body}\n")
            script.chmod(0o755)
        done = subprocess.run(
            [tmp_path / "all.sh", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd="/",
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_silent_when_all_is_well(verify):
    code, out, err = verify(one="echo noise", two="true")
    assert (code, err) == (0, "")
    assert [line.split(" (")[0] for line in out.splitlines()] == ["ok      one", "ok      two"]


def test_goes_on_after_a_failure_and_reports_all(verify):
    code, out, err = verify(a="echo first reason >&2; exit 3", b="true", c="echo second; false")
    assert code == 1
    assert err == "2 of 3 checks failed: a c\n"
    assert "FAILED  a" in out
    assert "        first reason\n" in out
    assert "ok      b" in out
    assert "        second\n" in out


def test_only_the_checks_that_are_named(verify):
    code, out, _ = verify("b", a="false", b="true")
    assert code == 0
    assert out.startswith("ok      b (")


def test_check_that_does_not_exist(verify):
    code, _, err = verify("nothing", a="true")
    assert (code, err) == (1, "1 of 1 checks failed: nothing\n")
