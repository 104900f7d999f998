"""Build the launcher of Scala kernels with Maven, for the wheel to take it from launchers/scala/lib.

Run as ``python -m ci.scala_launcher``. It is built again only when its sources have changed. With
``artifacts``, what Maven fetches is listed for ``ci.maven`` instead, unless the list is current.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from ci import maven
from ci.commands import UserError, exit_code, run
from ci.paths import ROOT, cache
from ci.progress import step

PROJECT = ROOT / "launchers/scala"
JAR = PROJECT / "lib/toree-launcher.jar"
# The hash of what the jar was built from; hidden files are not installed.
STAMP = PROJECT / "lib/.toree-launcher.inputs"
# pip's requirements of Spark and Toree, for the image and, here, to compile against.
RUNTIME = ROOT / "images/kernel-scala/runtime.txt"
# Build tools: program -> Debian package.
TOOLS = {"mvn": "maven", "javac": "openjdk-17-jdk-headless"}


def _toree() -> Path:
    """Return Toree's assembly, from the cache or from PyPI: it is not in a Maven repository."""
    requirement = next(
        line for line in RUNTIME.read_text().splitlines() if line.startswith("toree==")
    )
    name = hashlib.sha256(requirement.encode()).hexdigest()[:12]
    assembly = cache() / f"toree/toree-assembly-{name}.jar"
    if assembly.exists():
        return assembly
    assembly.parent.mkdir(parents=True, exist_ok=True)
    with step("Get Apache Toree"), TemporaryDirectory(dir=assembly.parent) as folder:
        wish = Path(folder) / "wish.txt"
        wish.write_text(requirement)
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:")
        run(*pip, "--require-hashes", "--requirement", wish, "--dest", folder)
        with tarfile.open(next(Path(folder).glob("toree-*.tar.gz"))) as archive:
            [member] = [name for name in archive.getnames() if name.endswith(".jar")]
            source = archive.extractfile(member)
            assert source is not None  # noqa: S101  a jar is a file
            partial = Path(folder) / "assembly.jar"
            with source, partial.open("wb") as target:
                shutil.copyfileobj(source, target)
        partial.replace(assembly)
    return assembly


def _inputs() -> str:
    digest = hashlib.sha256(RUNTIME.read_bytes() + maven.CHECKSUMS.read_bytes())
    files = [PROJECT / "pom.xml", *(PROJECT / "src").rglob("*.scala")]
    for path in sorted([*files, *(ROOT / "launchers/protocol").glob("*.json")]):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _fresh() -> bool:
    return JAR.exists() and STAMP.exists() and STAMP.read_text() == _inputs()


def ensure() -> Path:
    """Return the launcher's jar; when its sources have changed, test and build it first.

    Raises UserError where there is no Maven or no JDK, CommandError when it fails.
    """
    if _fresh():
        return JAR
    _require_tools()
    repository, assembly = maven.repository(PROJECT / "pom.xml"), _toree()
    with step("Build the launcher of Scala kernels with Maven"):
        _run_maven(repository, assembly)
        maven.check(repository)
    JAR.parent.mkdir(exist_ok=True)
    partial = JAR.with_suffix(".partial")
    shutil.copyfile(PROJECT / "target/toree-launcher.jar", partial)
    partial.replace(JAR)
    STAMP.write_text(_inputs())
    return JAR


def list_artifacts() -> None:
    """List what Maven needs, unless the list is current. Raises what ``ensure`` does."""
    pom = PROJECT / "pom.xml"
    if maven.is_current(pom):
        return
    _require_tools()
    assembly = _toree()
    with step("List the artifacts that Maven needs"), TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        _run_maven(repository, assembly)
        maven.write_list(pom, repository)


def _require_tools() -> None:
    if missing := [program for program in TOOLS if not shutil.which(program)]:
        raise UserError(
            "the launcher of Scala kernels is built with Maven and JDK 17, and"
            f" {' and '.join(missing)} cannot be found; on Debian: apt-get install {' '.join(TOOLS.values())}"
        )


def _run_maven(repository: Path, assembly: Path) -> None:
    run(
        *("mvn", "--batch-mode", "--quiet", "--no-transfer-progress", "--strict-checksums"),
        f"--file={PROJECT}/pom.xml",
        f"-Dmaven.repo.local={repository}",
        # Not the user's, where a part of the compiler may be that was built from other artifacts.
        f"-DsecondaryCacheDir={repository.with_name('zinc')}",
        f"-Dtoree.assembly={assembly}",
        "package",
    )


def main() -> int:
    """Print the path of the jar, built if necessary; or list Maven's artifacts."""
    parser = argparse.ArgumentParser(prog="python -m ci.scala_launcher", description=__doc__)
    parser.add_argument("verb", nargs="?", choices=("jar", "artifacts"), default="jar")
    if parser.parse_args().verb == "artifacts":
        return exit_code(list_artifacts)
    return exit_code(lambda: print(ensure()))


if __name__ == "__main__":
    sys.exit(main())
