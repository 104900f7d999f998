"""Maven artifacts by checksum: a build's are listed, and fetched and compared before Maven runs, offline.

A pom.xml decides what is needed. When it changes, ``write_list`` writes the list again: ci/update/maven.sh.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from ci.commands import UserError
from ci.paths import ROOT, cache
from ci.progress import step

# As `sha256sum` writes it, with the paths of a Maven repository. The first line is about the pom.xml.
CHECKSUMS = ROOT / "ci/maven.sha256"
UPDATE = "ci/update/maven.sh"
CENTRAL = "https://repo.maven.apache.org/maven2"
_SECONDS = 60
_AT_ONCE = 8


def is_current(pom: Path) -> bool:
    """Return whether the list was written for this pom.xml."""
    first, _, _ = CHECKSUMS.read_text().partition("\n")
    return first == _heading(pom)


def repository(pom: Path) -> Path:
    """Return a local Maven repository that has what the project needs, each file with the checksum listed.

    Raises UserError for a pom.xml that has changed, and for a file that cannot be fetched or is another one.
    """
    if not is_current(pom):
        raise UserError(
            f"{pom.name} has changed since {CHECKSUMS.name} was written: run {UPDATE}, and check what it adds"
        )
    folder = cache() / "maven/repository"
    listed = _listed()
    missing = [path for path, digest in listed.items() if _sha256(folder / path) != digest]
    if missing:
        with step(f"Get {len(missing)} Maven artifacts"), ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda path: _fetch(folder, path, listed[path]), missing))
    return folder


def write_list(pom: Path, repository: Path) -> None:
    """List the artifacts in a repository that Maven filled for this pom.xml."""
    files = sorted(path for path in repository.rglob("*") if path.suffix in {".jar", ".pom"})
    lines = [f"{_sha256(path)}  {path.relative_to(repository)}" for path in files]
    CHECKSUMS.write_text("\n".join([_heading(pom), *lines, ""]))


def _heading(pom: Path) -> str:
    return f"# {_sha256(pom)} {pom.name}; written by {UPDATE}"


def _listed() -> dict[str, str]:
    """The SHA-256 of each artifact, by its path."""
    lines = (line for line in CHECKSUMS.read_text().splitlines() if line[:1] != "#")
    return {path: digest for digest, path in (line.split() for line in lines)}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _fetch(folder: Path, path: str, digest: str) -> None:
    url = f"{os.environ.get('GP_MAVEN_REPOSITORY') or CENTRAL}/{path}"
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310  from our environment
            content = answer.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UserError(
            f"{url} cannot be fetched: {error}. If this machine uses a mirror of Maven Central, name it:"
            " GP_MAVEN_REPOSITORY=https://..."
        ) from error
    if (found := hashlib.sha256(content).hexdigest()) != digest:
        raise UserError(
            f"{url} is not the file that {CHECKSUMS.name} lists, and is not used: its SHA-256 is {found}, and"
            f" {digest} is expected. Find out who changed it"
        )
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as unfinished:
        (Path(unfinished) / "content").write_bytes(content)
        (Path(unfinished) / "content").replace(target)
