"""Build the extension of JupyterLab with npm, into the client's package, for the wheel to take it from there.

Run as ``python -m ci.labextension``. What was built from the same sources is taken from the cache. With
``check``, the types and the rules of the sources are checked instead.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ci import npm_programs
from ci.commands import exit_code, run
from ci.locks import one_process_at_a_time
from ci.paths import ROOT, cache
from ci.progress import step

SOURCE = ROOT / "python/client/labextension"
BUILT = ROOT / "python/client/gateway_provisioners_client/labextension"
# The hash of what it was built from; hidden files are not published.
STAMP = BUILT / ".inputs"
_FILES = (
    "eslint.config.mjs",
    "package-lock.json",
    "package.json",
    "tsconfig.json",
    "src/*.ts",
    "style/*.css",
)
_BUILDER = "@jupyter/builder/lib/build-labextension.js"
_CORE = "@jupyterlab/core-meta/core.package.json"


def ensure() -> Path:
    """Return the folder of the prebuilt extension; when its sources have changed, build it first.

    Raises CommandError, with npm's output, when that fails.
    """
    if STAMP.exists() and STAMP.read_text() == _inputs():
        return BUILT
    with one_process_at_a_time("labextension", "builds the extension of JupyterLab"):
        built = cache() / "labextension" / _inputs()[:16]
        if not built.exists():
            with step("Build the extension of JupyterLab"):
                _build(built)
        shutil.rmtree(BUILT, ignore_errors=True)
        shutil.copytree(built, BUILT)
        STAMP.write_text(_inputs())
    return BUILT


def check() -> None:
    """Check the types and the rules of the sources. Raises CommandError, with what is wrong."""
    with _sources() as folder:
        _node(folder, "typescript/bin/tsc", "--noEmit")
        _node(folder, "eslint/bin/eslint.js", "--max-warnings=0")


def _build(target: Path) -> None:
    with _sources() as folder:
        _node(folder, "typescript/bin/tsc")
        _node(folder, _BUILDER, "--core-package-file", folder / "node_modules" / _CORE, folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / "labextension", target)


@contextmanager
def _sources() -> Iterator[Path]:
    """A copy of the sources beside their packages, which are not installed into the checkout."""
    packages = npm_programs.packages(SOURCE)
    with TemporaryDirectory(dir=packages.parent) as folder:
        for file in _files():
            copy = Path(folder) / file.relative_to(SOURCE)
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(file, copy)
        (Path(folder) / "node_modules").symlink_to(packages)
        yield Path(folder)


def _node(folder: Path, script: str, *arguments: str | Path) -> None:
    run(npm_programs.NODE, folder / "node_modules" / script, *arguments, cwd=folder)


def _files() -> list[Path]:
    return sorted(file for pattern in _FILES for file in SOURCE.glob(pattern))


def _inputs() -> str:
    digest = hashlib.sha256()
    for file in _files():
        digest.update(str(file.relative_to(SOURCE)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def main() -> int:
    """Print the folder of the prebuilt extension, built if necessary; or check its sources."""
    parser = argparse.ArgumentParser(prog="python -m ci.labextension", description=__doc__)
    parser.add_argument("verb", nargs="?", choices=("build", "check"), default="build")
    if parser.parse_args().verb == "check":
        return exit_code(check)
    return exit_code(lambda: print(ensure()))


if __name__ == "__main__":
    sys.exit(main())
