"""The Maven artifacts that a build may use, by checksum.

A pom.xml decides what is needed. When it changes, ``write_list`` writes the list again: ci/update/maven.sh.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ci.commands import UserError
from ci.paths import ROOT, cache

# As `sha256sum` writes it, with the paths of a Maven repository. The first line is about the pom.xml.
CHECKSUMS = ROOT / "ci/maven.sha256"
UPDATE = "ci/update/maven.sh"


def is_current(pom: Path) -> bool:
    """Return whether the list was written for this pom.xml."""
    first, _, _ = CHECKSUMS.read_text().partition("\n")
    return first == _heading(pom)


def repository(pom: Path) -> Path:
    """Return the local Maven repository for a project, without artifacts other than those listed.

    Maven fetches into it what it lacks; `check` it before what was built is used.

    Raises UserError for a pom.xml that has changed.
    """
    if not is_current(pom):
        raise UserError(
            f"{pom.name} has changed since {CHECKSUMS.name} was written: run {UPDATE}, and check what it adds"
        )
    folder = cache() / "maven/repository"
    _remove_unlisted(folder)
    return folder


def check(folder: Path) -> None:
    """Check that Maven has used no artifacts but those listed.

    Raises UserError for another one, which is removed.
    """
    if removed := _remove_unlisted(folder):
        raise UserError(
            f"Maven has fetched artifacts that {CHECKSUMS.name} does not list by checksum, and what it"
            f" built is not used: {', '.join(removed)}. Find out who changed them"
        )


def write_list(pom: Path, folder: Path) -> None:
    """List the artifacts in a repository that Maven filled for this pom.xml."""
    lines = [f"{_sha256(path)}  {path.relative_to(folder)}" for path in _artifacts(folder)]
    CHECKSUMS.write_text("\n".join([_heading(pom), *lines, ""]))


def _remove_unlisted(folder: Path) -> list[str]:
    lines = (line for line in CHECKSUMS.read_text().splitlines() if line[:1] != "#")
    listed = {path: digest for digest, path in (line.split() for line in lines)}
    removed = []
    for file in _artifacts(folder):
        path = file.relative_to(folder).as_posix()
        if listed.get(path) != _sha256(file):
            file.unlink()
            removed.append(path)
    return removed


def _artifacts(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.rglob("*") if path.suffix in {".jar", ".pom"}))


def _heading(pom: Path) -> str:
    return f"# {_sha256(pom)} {pom.name}; written by {UPDATE}"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
