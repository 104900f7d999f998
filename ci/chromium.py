"""Debian's Chromium, which the tests of clients drive."""

from __future__ import annotations

import shutil
from pathlib import Path

from ci import debian
from ci.locks import one_process_at_a_time

PROGRAM = "chromium"


def ensure() -> Path:
    """Return the browser's program, which is installed now unless it is.

    Raises UserError, naming the package, where that cannot be done.
    """
    with one_process_at_a_time("chromium", "installs Chromium"):
        # With it comes fonts-dejavu-core, so that text has letters.
        debian.install_missing({PROGRAM: "chromium"}, needed_by="tests/clients")
    return Path(str(shutil.which(PROGRAM)))
