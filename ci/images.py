"""Build the images with docker, podman or buildah, and keep each as an archive that a cluster can load.

An image is built again only when its inputs have changed: its folder, our wheel, or its parent. Run as
``python -m ci.images [REFERENCE ...]``; BUILDER, BASE_IMAGE and BASE_DIGEST choose how and on what.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, cast

from ci import base_images, scala_launcher
from ci.builders import Builder, find_builder
from ci.commands import UserError, exit_code, run
from ci.locks import one_process_at_a_time
from ci.paths import ROOT, cache, version
from ci.progress import say, step
from ci.registry_access import build_mounts
from ci.rootfs import apt_sources, debian_root

# The value of BASE_IMAGE for images of ours in place of published bases, where those cannot be pulled.
STAND_IN = "foundation"
PIP = "pip==26.3"
OLD_ARCHIVES_KEPT = 1
VERSION = version()


@dataclass(frozen=True)
class Image:
    """One image: its name, its folder, and its other inputs.

    Attributes:
        parent: the reference of the image that it is built on.
        wheel: whether our wheel is in its build context.
        pinned: whether its `pip install gateway_provisioners` takes our wheel and not the index's.
        deployed: False for an image that others are built on, or that only tests use.
    """

    reference: str
    folder: Path
    parent: str | None
    wheel: bool = False
    pinned: bool = False
    deployed: bool = True

    @cached_property
    def arguments(self) -> frozenset[str]:
        """The build arguments that its Dockerfile declares."""
        text = (self.folder / "Dockerfile").read_text()
        return frozenset(re.findall(r"^ARG (\w+)", text, flags=re.MULTILINE))


FOUNDATION = Image(
    f"elyra/foundation:{VERSION}", ROOT / "images/foundation", parent=None, deployed=False
)
KERNEL_PY = Image(
    f"elyra/kernel-py:{VERSION}", ROOT / "images/kernel-py", FOUNDATION.reference, wheel=True
)
KERNEL_R = Image(
    f"elyra/kernel-r:{VERSION}", ROOT / "images/kernel-r", FOUNDATION.reference, wheel=True
)
KERNEL_SCALA = Image(
    f"elyra/kernel-scala:{VERSION}", ROOT / "images/kernel-scala", FOUNDATION.reference, wheel=True
)
GATEWAY = Image(
    f"elyra/gateway:{VERSION}", ROOT / "images/gateway", FOUNDATION.reference, wheel=True
)
DEBIAN = Image(f"elyra/debian:{VERSION}", ROOT / "images/debian", parent=None, deployed=False)
ENGINE_PROXY = Image(
    f"elyra/engine-proxy:{VERSION}",
    ROOT / "examples/docker/engine-proxy",
    DEBIAN.reference,
    deployed=False,
)
DATA_SCI_PY = Image("acme/data-sci-py:2.0", ROOT / "examples/data-sci-py", KERNEL_PY.reference)


def _byo_image(name: str, parent: Image) -> Image:
    """Return an example of a user's own image."""
    folder = ROOT / "examples" / name.partition(":")[0]
    return Image(f"acme/{name}", folder, parent.reference, pinned=True, deployed=False)


FROM_DOCKER_STACKS = _byo_image("from-docker-stacks:1.0", FOUNDATION)
PLAIN_DEBIAN = _byo_image("plain-debian:1.0", DEBIAN)
BASH_KERNEL = _byo_image("bash-kernel:1.0", FOUNDATION)
TWO_LANGUAGES = _byo_image("two-languages:1.0", KERNEL_R)
BYO_IMAGES = (FROM_DOCKER_STACKS, PLAIN_DEBIAN, TWO_LANGUAGES, BASH_KERNEL)
IMAGES = {
    image.reference: image
    for image in (
        *(FOUNDATION, KERNEL_PY, KERNEL_R, KERNEL_SCALA, GATEWAY),
        *(DEBIAN, ENGINE_PROXY, DATA_SCI_PY, *BYO_IMAGES),
    )
}


@dataclass(frozen=True)
class Built:
    """An image's archive, its size unpacked in bytes, and whether it was built just now."""

    reference: str
    archive: Path
    unpacked: int
    fresh: bool


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _hash_folder(folder: Path) -> str:
    parts: list[str] = []
    for path in sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md"
    ):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        parts += [str(path.relative_to(folder)), str(os.access(path, os.X_OK)), content]
    return _hash(*parts)


def _unpacked_size(archive: Path) -> int:
    """Add up the files in the layers of a docker-archive, in bytes."""
    total = 0
    with tarfile.open(archive) as outer:
        [image] = json.load(cast("IO[bytes]", outer.extractfile("manifest.json")))
        for layer in image["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
                total += sum(member.size for member in inner if member.isreg())
    return total


class ImageBuilds:
    """Builds images with one builder, each after the image that it is built on."""

    def __init__(self, builder: Builder, base_image: str | None, base_digest: str = "") -> None:
        """``base_digest`` is the digest that the base must have; "" for any.

        Raises UserError for a digest of the stand-in, which has none.
        """
        self.builder = builder
        # buildah is chosen where neither docker nor podman is: rarely is there a registry either.
        default = STAND_IN if builder.name == "buildah" else base_images.FOUNDATION
        self.base = base_image or default
        self.base_digest = base_digest
        if base_digest and self.replaces_bases:
            raise UserError(
                "BASE_DIGEST is set, but the base is the stand-in, which is built here and has no digest in a"
                " registry; unset it, or name a published base: BASE_IMAGE=..."
            )
        self._tempdir = TemporaryDirectory(prefix="gateway-provisioners-images-")

    def close(self) -> None:
        """Remove temporary files."""
        self._tempdir.cleanup()

    @cached_property
    def wheel(self) -> Path:
        """Our wheel, built from the checkout as it stands."""
        folder = Path(self._tempdir.name) / "wheel"
        uv = Path(sys.executable).with_name("uv")
        run(uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT / "python")
        return next(folder.glob("*.whl"))

    @cached_property
    def _wheel_hash(self) -> str:
        return hashlib.sha256(self.wheel.read_bytes()).hexdigest()

    def parent(self, image: Image) -> Image | str | None:
        """Return the image that another is built on: one of ours, or the reference of another."""
        if image.parent is None:
            return None
        if self.replaces_bases:
            return IMAGES[image.parent]
        if image.parent == FOUNDATION.reference:
            return self._published_base
        if image.parent == DEBIAN.reference:
            return self._published_debian
        return IMAGES[image.parent]

    @property
    def replaces_bases(self) -> bool:
        """True when images of ours replace published bases."""
        return self.base == STAND_IN

    @cached_property
    def _published_base(self) -> str:
        return self._pinned(self.base, self.base_digest)

    @cached_property
    def _published_debian(self) -> str:
        return self._pinned(base_images.DEBIAN)

    def _pinned(self, reference: str, digest: str = "") -> str:
        """Return how a build names a base, and print it, for BASE_DIGEST of later builds."""
        found = base_images.pinned(self.builder, reference, digest)
        say(f"Base image: {reference} is {found}")
        return found

    def build_arguments(self, image: Image) -> dict[str, str]:
        """Return the values of those build arguments that the image's Dockerfile declares."""
        parent = self.parent(image)
        values = {"VERSION": VERSION}
        if parent is not None:
            values["BASE_IMAGE"] = parent.reference if isinstance(parent, Image) else parent
        return {name: value for name, value in values.items() if name in image.arguments}

    def inputs(self, image: Image) -> str:
        """Return the hash of all that an image is made of."""
        parent = self.parent(image)
        return _hash(
            self.builder.name,
            _hash_folder(image.folder),
            *(f"{name}={value}" for name, value in self.build_arguments(image).items()),
            self._wheel_hash if image.wheel or image.pinned else "",
            self.inputs(parent)
            if isinstance(parent, Image)
            else parent or debian_root().name + PIP,
        )

    def build(self, image: Image) -> None:
        """Build an image, unless the builder has it from the same inputs, and run its smoke test."""
        inputs = self.inputs(image)
        if self.builder.inputs_of(image.reference) == inputs:
            return
        parent = self.parent(image)
        if isinstance(parent, Image):
            self.build(parent)
        replaced = self.builder.image_id(image.reference)
        with (
            step(f"Build {image.reference} with {self.builder.name}"),
            TemporaryDirectory(dir=self._tempdir.name) as context,
            build_mounts(self._apt_sources(), self.wheel if image.pinned else None) as mounts,
        ):
            self._lay_out(image, Path(context))
            self.builder.build(
                Path(context),
                image.reference,
                inputs,
                self.build_arguments(image),
                mounts,
                # No builder sees a change in a mounted file.
                cached=not image.pinned,
            )
            try:
                self.builder.run(image.reference, (image.folder / "smoke-test.sh").read_text())
            except BaseException:
                # Else the next call would take it for tested.
                self.builder.remove(image.reference)
                raise
        if replaced and replaced != self.builder.image_id(image.reference):
            self.builder.remove(replaced)

    def _apt_sources(self) -> str:
        return apt_sources() if self.replaces_bases else ""

    def _lay_out(self, image: Image, context: Path) -> None:
        shutil.copytree(image.folder, context, dirs_exist_ok=True)
        if image.wheel:
            shutil.copy(self.wheel, context)
        if image.parent is None:
            os.link(debian_root(), context / "rootfs.tar")
        if image is FOUNDATION:
            run(
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--dest",
                context,
                PIP,
            )

    def archive(self, image: Image) -> Built:
        """Return the image's archive, made now unless the cache has it from the same inputs."""
        folder = cache() / "images"
        stem = image.reference.replace("/", "-").replace(":", "-")
        archive = folder / f"{stem}-{self.inputs(image)[:12]}.tar"
        size_file = archive.with_suffix(".size")
        fresh = not size_file.exists()
        if fresh:
            self.build(image)
            folder.mkdir(parents=True, exist_ok=True)
            with step(f"Export {image.reference}"):
                partial = archive.with_suffix(".partial")
                partial.unlink(missing_ok=True)
                self.builder.export(image.reference, partial)
                partial.replace(archive)
                size_file.write_text(str(_unpacked_size(archive)))
            self._delete_old(folder, stem, archive)
        return Built(image.reference, archive, int(size_file.read_text()), fresh)

    @staticmethod
    def _delete_old(folder: Path, stem: str, newest: Path) -> None:
        others = sorted(
            (path for path in folder.glob(f"{stem}-*.tar") if path != newest),
            key=lambda path: path.stat().st_mtime,
            reverse=True,
        )
        for old in others[OLD_ARCHIVES_KEPT:]:
            old.unlink()
            old.with_suffix(".size").unlink(missing_ok=True)


@contextmanager
def _image_builds(wanted: Sequence[Image]) -> Iterator[ImageBuilds]:
    # They share a storage folder and the names of the images.
    with one_process_at_a_time("images", "builds images"):
        if KERNEL_SCALA in wanted:
            scala_launcher.ensure()  # it becomes part of the wheel
        builds = ImageBuilds(
            find_builder(os.environ.get("BUILDER")),
            os.environ.get("BASE_IMAGE"),
            os.environ.get("BASE_DIGEST", ""),
        )
        try:
            yield builds
        finally:
            builds.close()


@contextmanager
def container(image: Image, folder: Path) -> Iterator[list[str]]:
    """Give a command that runs a bash script in a new container of the image: see ``Builder.shell``.

    The image is built first where the builder does not have it.
    """
    with ExitStack() as stack:
        with _image_builds([image]) as builds:
            builds.build(image)
            command = stack.enter_context(builds.builder.shell(image.reference, folder))
        yield command


def ensure(references: Sequence[str] = ()) -> list[Built]:
    """Return the archives of the images named, or of all that are deployed.

    Raises UserError for an unknown name, and what ``archives`` raises.
    """
    unknown = [reference for reference in references if reference not in IMAGES]
    if unknown:
        raise UserError(f"no image is called {unknown[0]}; use one of: {', '.join(IMAGES)}")
    wanted = [IMAGES[reference] for reference in references] or [
        image for image in IMAGES.values() if image.deployed
    ]
    return archives(wanted)


def archives(wanted: Sequence[Image], *, release: bool = False) -> list[Built]:
    """Build what has changed and return the archives of images.

    Args:
        release: the images will be published, so a published base must be named by its digest.

    Raises UserError for a machine that cannot build, and for a ``release`` on a base that is not pinned;
    CommandError when a build fails.
    """
    with _image_builds(wanted) as builds:
        if release and not builds.replaces_bases and not builds.base_digest:
            raise UserError(
                f"images of a release need the digest of their base, {builds.base}: set BASE_DIGEST="
                "sha256:... to the one that you have checked; `make images` prints the one that it used"
            )
        return [builds.archive(image) for image in wanted]


def _build_and_report(references: Sequence[str]) -> None:
    for image in ensure(references):
        state = "built" if image.fresh else "unchanged"
        say(
            f"{image.reference:26} {image.unpacked / 1e6:5.0f} MB unpacked  {state:9}  {image.archive}"
        )


def main() -> int:
    """Build, then print the size and the archive of each image."""
    parser = argparse.ArgumentParser(prog="python -m ci.images", description="Build the images.")
    parser.add_argument("references", nargs="*", metavar="REFERENCE", help="default: all")
    references = parser.parse_args().references
    return exit_code(lambda: _build_and_report(references))


if __name__ == "__main__":
    sys.exit(main())
