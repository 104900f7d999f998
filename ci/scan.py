"""Known vulnerabilities of an image, by grype, which is made from the Go module proxy."""

from __future__ import annotations

import os
from pathlib import Path

from ci import go_programs
from ci.commands import CommandError, UserError, run
from ci.paths import ROOT

# go.mod pins its version.
_SOURCE = ROOT / "ci/scan"
_PACKAGE = "github.com/anchore/grype/cmd/grype"
# Those without a fix are in the report, and do not keep a release back: no build could avoid them.
_POLICY = ("--fail-on=high", "--only-fixed")
_FOUND = "ended with exit code 2:"
_NO_DATABASE = "failed to load vulnerability db"


def program() -> Path:
    """Return grype, made now unless the cache has it. Raises CommandError when it cannot be made."""
    return go_programs.ensure(_SOURCE, _PACKAGE, "grype")


def scan(grype: Path, archive: Path, report: Path) -> None:
    """Write grype's report, in JSON, on an image's archive.

    Raises UserError for a serious vulnerability that has a fix, and if grype has no database of
    vulnerabilities; CommandError for any other failure.
    """
    outputs = ("--output=table", f"--output=json={report}")
    environment = {**os.environ, "GRYPE_CHECK_FOR_APP_UPDATE": "false", "NO_COLOR": "1"}
    try:
        run(grype, f"docker-archive:{archive}", *_POLICY, *outputs, env=environment)
    except CommandError as error:
        if _NO_DATABASE in str(error):
            raise UserError(
                f"{archive.name} cannot be scanned: grype has no current database of vulnerabilities and"
                " could not download one. Scan with internet access, or bring one with `grype db import` and"
                f" set GRYPE_DB_AUTO_UPDATE=false. {error}"
            ) from error
        if _FOUND in str(error):
            raise UserError(
                f"{archive.name} has vulnerabilities of high or critical severity that have a fix. Build it"
                " on a newer base (ci/base_images.py) and with newer packages (ci/update/requirements.sh"
                f" --upgrade). {error}"
            ) from error
        raise
