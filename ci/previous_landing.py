"""The product as it landed before: its chart and its images, for tests of upgrade, adoption and rollback.

The first change after a landing sets `COMMIT` to it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from ci.commands import CommandError, UserError, run
from ci.paths import ROOT, cache

COMMIT = "0d5d91473f4b3f029c5e78df016dc917c6d9f5d0"
# Its images need names of their own beside today's, which may have the same version.
VERSION = "1.0.0.dev0"
GATEWAY = f"elyra/gateway:{VERSION}"
KERNEL_PY = f"elyra/kernel-py:{VERSION}"

# A program that runs in that checkout, with the `ci` there.
_BUILD = "import json, sys; from ci.images import ensure; "
_BUILD += (
    "json.dump([str(built.archive) for built in ensure(sys.argv[2:])], open(sys.argv[1], 'w'))"
)


@dataclass(frozen=True)
class PreviousLanding:
    """Its checkout, and the archives of `GATEWAY` and `KERNEL_PY`."""

    checkout: Path
    archives: tuple[Path, ...]

    @property
    def chart(self) -> Path:
        """The folder of its chart."""
        return self.checkout / "charts/gateway-provisioners"


def ensure() -> PreviousLanding:
    """Check the previous landing out into the cache and build its images there, unless that is done.

    Raises:
        UserError: the repository does not hold `COMMIT`.
        CommandError: a build failed.
    """
    checkout = cache() / "previous-landing" / COMMIT
    if not checkout.exists():
        _check_out(checkout)
    with TemporaryDirectory() as folder:
        answer = Path(folder) / "archives.json"
        done = subprocess.run(
            [sys.executable, "-c", _BUILD, answer, GATEWAY, KERNEL_PY],
            cwd=checkout,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CommandError(f"the images of {COMMIT} cannot be built:\n{done.stderr[-4000:]}")
        archives = cast("list[str]", json.loads(answer.read_text()))
    return PreviousLanding(checkout, tuple(map(Path, archives)))


def _check_out(checkout: Path) -> None:
    """Unpack the commit in one step: another process may be doing the same."""
    checkout.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=checkout.parent) as folder:
        archive, tree = Path(folder) / "tree.tar", Path(folder) / "tree"
        try:
            run("git", "-C", ROOT, "archive", f"--output={archive}", COMMIT)
        except CommandError as error:
            raise UserError(
                f"this clone does not hold the previous landing: run `git fetch --unshallow` ({error})"
            ) from error
        with tarfile.open(archive) as files:
            files.extractall(tree, filter="data")
        version = tree / "python/gateway_provisioners/_version.py"
        version.write_text(re.sub('"[^"]+"', f'"{VERSION}"', version.read_text()))
        try:
            tree.rename(checkout)
        except OSError:
            if not checkout.exists():
                raise
    for other in checkout.parent.iterdir():
        if other.is_dir() and re.fullmatch("[0-9a-f]{40}", other.name) and other != checkout:
            shutil.rmtree(other)
