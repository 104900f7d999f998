"""Programs that are made from the Go module proxy, when they are needed; kept in the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

from ci.commands import run
from ci.paths import cache
from ci.progress import step


def ensure(source: Path, package: str, name: str, linker_flags: str = "") -> Path:
    """Build a package that a module requires, unless that is done; return the program `name`.

    Args:
        source: the folder of go.mod and go.sum, which pin all that it is made of.
    """
    sums = [(source / file).read_bytes() for file in ("go.mod", "go.sum")]
    compiler = run("go", "env", "-C", source, "GOVERSION", "GOOS", "GOARCH")
    settings = "\n".join((compiler, package, linker_flags)).encode()
    key = hashlib.sha256(b"\n".join([settings, *sums])).hexdigest()[:16]
    program = cache() / name / key / name
    if program.exists():
        return program
    program.parent.parent.mkdir(parents=True, exist_ok=True)
    with step(f"Build {name}"), TemporaryDirectory(dir=program.parent.parent) as unfinished:
        folder = Path(unfinished) / "built"
        flags = ("-trimpath", "-buildvcs=false", f"-ldflags=-s -w {linker_flags}".rstrip())
        run("go", "build", "-C", source, *flags, "-o", folder / name, package)
        if not program.exists():  # or another process was faster
            folder.rename(program.parent)
    return program


def module_folder(source: Path, module: str) -> Path:
    """Return where the Go command keeps a module that another one requires."""
    return Path(run("go", "list", "-C", source, "-m", "-f={{.Dir}}", module).strip())
