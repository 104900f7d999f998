"""ci.images: which images are built again, and in which order; with a fake builder."""

import contextlib
import io
import json
import re
import tarfile
from dataclasses import replace

import pytest

from ci import base_images, images
from ci.builders import Builder
from ci.commands import CommandError, UserError
from ci.images import Image, ImageBuilds


class FakeBuilder(Builder):
    """Remembers its calls; an image is a name, an id and the hash of its inputs."""

    name = "fake"

    def __init__(self):
        self.images = {}
        self.built = []
        self.removed = []
        self.contexts = []
        self.arguments = []
        self.mounts = []
        self.uncached = []
        self.failing = set()
        self.pulled = []
        self.known_digests = []

    def build(self, context, tag, inputs, build_args, mounts, *, cached=True):
        self.mounts.append(mounts)
        self.uncached += [] if cached else [tag]
        self.contexts.append({path.name for path in context.iterdir()})
        self.arguments.append(dict(build_args))
        self.built.append(tag)
        self.images[tag] = (f"id-{len(self.contexts)}", inputs)

    def inputs_of(self, tag):
        return self.images.get(tag, (None, None))[1]

    def image_id(self, tag):
        return self.images.get(tag, (None, None))[0]

    def run(self, tag, script):
        if tag in self.failing:
            raise CommandError(f"smoke test of {tag}")
        return script

    def config(self, tag):
        raise NotImplementedError

    def container(self, tag, user, variables):
        raise NotImplementedError

    def shell(self, tag, folder):
        return contextlib.nullcontext([tag, str(folder)])

    def pull(self, reference):
        self.pulled.append(reference)

    def digests(self, reference):
        return self.known_digests

    def export(self, tag, archive):
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as inner:
            inner.addfile(member("file", 1000), io.BytesIO(b"x" * 1000))
            inner.addfile(member("another", 234), io.BytesIO(b"x" * 234))
        manifest = json.dumps([{"Layers": ["layer.tar"]}]).encode()
        with tarfile.open(archive, "w") as outer:
            outer.addfile(member("manifest.json", len(manifest)), io.BytesIO(manifest))
            outer.addfile(member("layer.tar", len(layer.getvalue())), io.BytesIO(layer.getvalue()))

    def remove(self, image):
        self.removed.append(image)
        self.images.pop(image, None)


def member(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    return info


DOCKERFILES = {
    "a/base:1": "FROM scratch\n",
    "a/middle:1": "ARG BASE_IMAGE=published/base\nFROM ${BASE_IMAGE}\n",
    "a/leaf:2": "ARG VERSION=0\nFROM a/middle:1\n",
}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Three images, parent to child, with a wheel in the middle one; nothing of this checkout's."""
    monkeypatch.setenv("GP_CACHE", str(tmp_path / "cache"))
    table = {}
    for reference, parent, wheel in (("a/base:1", None, False), ("a/middle:1", "a/base:1", True)):
        table[reference] = Image(reference, tmp_path / reference.replace(":", "-"), parent, wheel)
    table["a/leaf:2"] = Image("a/leaf:2", tmp_path / "examples/leaf", "a/middle:1")
    for image in table.values():
        image.folder.mkdir(parents=True)
        (image.folder / "Dockerfile").write_text(DOCKERFILES[image.reference])
        (image.folder / "smoke-test.sh").write_text("true\n")
    wheel = tmp_path / "ours.whl"
    wheel.write_bytes(b"first")
    rootfs = tmp_path / "rootfs.tar"
    rootfs.touch()
    monkeypatch.setattr(images, "IMAGES", table)
    monkeypatch.setattr(images, "FOUNDATION", table["a/base:1"])
    monkeypatch.setattr(images, "debian_root", lambda: rootfs)
    monkeypatch.setattr(images, "run", lambda *argv: "")
    monkeypatch.setattr(images, "apt_sources", lambda: "deb file:/packages bookworm main")
    monkeypatch.setattr(images, "build_mounts", lambda *given: contextlib.nullcontext(given))
    monkeypatch.setattr(ImageBuilds, "wheel", wheel)
    return table


@pytest.fixture
def builder():
    return FakeBuilder()


def archive(builder, image, base_image="foundation", base_digest=""):
    builds = ImageBuilds(builder, base_image, base_digest)
    try:
        return builds.archive(image)
    finally:
        builds.close()


def test_parents_come_first_and_contexts_hold_only_what_they_need(world, builder):
    built = archive(builder, world["a/leaf:2"])
    assert builder.built == ["a/base:1", "a/middle:1", "a/leaf:2"]
    assert builder.contexts == [
        {"Dockerfile", "smoke-test.sh", "rootfs.tar"},
        {"Dockerfile", "smoke-test.sh", "ours.whl"},
        {"Dockerfile", "smoke-test.sh"},
    ]
    assert builder.arguments == [{}, {"BASE_IMAGE": "a/base:1"}, {"VERSION": images.VERSION}]
    assert built.fresh
    assert built.unpacked == 1234
    assert built.archive.is_file()


def test_nothing_is_built_again_without_a_change(world, builder):
    first = archive(builder, world["a/leaf:2"])
    builder.built.clear()
    again = archive(builder, world["a/leaf:2"])
    assert builder.built == []
    assert (again.archive, again.unpacked, again.fresh) == (first.archive, 1234, False)


def test_a_readme_is_not_part_of_an_image(world, builder):
    first = archive(builder, world["a/leaf:2"])
    (world["a/base:1"].folder / "README.md").write_text("words")
    assert archive(builder, world["a/leaf:2"]).archive == first.archive


@pytest.mark.parametrize(
    ("change", "rebuilt"),
    [
        ("wheel", ["a/middle:1", "a/leaf:2"]),
        ("leaf", ["a/leaf:2"]),
        ("base", ["a/base:1", "a/middle:1", "a/leaf:2"]),
        ("executable", ["a/leaf:2"]),
    ],
)
def test_a_change_rebuilds_all_images_that_are_built_on_it(world, builder, change, rebuilt):
    first = archive(builder, world["a/leaf:2"])
    builder.built.clear()
    if change == "wheel":
        ImageBuilds.wheel.write_bytes(b"second")
    elif change == "executable":
        (world["a/leaf:2"].folder / "smoke-test.sh").chmod(0o755)
    else:
        reference = {"leaf": "a/leaf:2", "base": "a/base:1"}[change]
        (world[reference].folder / "file").write_text("new")
    second = archive(builder, world["a/leaf:2"])
    assert builder.built == rebuilt
    assert second.archive != first.archive
    assert [image for image in builder.removed if image.startswith("id-")] != []


def test_of_old_archives_one_is_kept(world, builder):
    archives = []
    for number in range(4):
        (world["a/leaf:2"].folder / "file").write_text(str(number))
        archives.append(archive(builder, world["a/leaf:2"]).archive)
    left = sorted(archives[0].parent.glob("*.tar"))
    assert left == sorted(archives[-2:])


def test_an_image_that_fails_its_smoke_test_is_neither_kept_nor_exported(world, builder):
    builder.failing.add("a/middle:1")
    for _ in range(2):
        with pytest.raises(CommandError, match="smoke test of a/middle:1"):
            archive(builder, world["a/leaf:2"])
    assert builder.built == ["a/base:1", "a/middle:1", "a/middle:1"]


def test_another_base_image_replaces_ours(world, builder):
    archive(builder, world["a/leaf:2"], base_image="other/base:3")
    assert builder.built == ["a/middle:1", "a/leaf:2"]
    assert builder.arguments[0] == {"BASE_IMAGE": "other/base:3"}


@pytest.mark.parametrize(
    ("name", "base"), [("buildah", "foundation"), ("docker", base_images.FOUNDATION)]
)
def test_the_published_base_is_the_default_where_it_can_be_pulled(builder, name, base):
    builder.name = name
    builds = ImageBuilds(builder, None)
    builds.close()
    assert builds.base == base


DIGEST = f"sha256:{'1' * 64}"
OTHER_DIGEST = f"sha256:{'2' * 64}"


def test_a_build_uses_the_digest_of_its_base_and_prints_it(world, builder, capsys):
    builder.known_digests = [DIGEST]
    first = archive(builder, world["a/leaf:2"], base_image="other:5000/base:3")
    assert builder.pulled == ["other:5000/base:3"]
    assert builder.arguments[0] == {"BASE_IMAGE": f"other:5000/base@{DIGEST}"}
    assert f"Base image: other:5000/base:3 is other:5000/base@{DIGEST}\n" in capsys.readouterr().out
    builder.known_digests = [OTHER_DIGEST]
    assert archive(builder, world["a/leaf:2"], "other:5000/base:3").archive != first.archive


def test_a_base_is_pulled_by_the_digest_that_is_required(world, builder):
    builder.known_digests = [DIGEST]
    archive(builder, world["a/middle:1"], "other/base:3", DIGEST)
    assert builder.pulled == [f"other/base@{DIGEST}"]
    assert builder.arguments == [{"BASE_IMAGE": f"other/base@{DIGEST}"}]


@pytest.mark.parametrize(
    ("known", "words"),
    [([OTHER_DIGEST], f"has the digest {OTHER_DIGEST}"), ([], "was built here: it has no digest")],
)
def test_a_base_with_another_digest_is_refused(world, builder, known, words):
    builder.images["other/base:3"] = ("id", None)
    builder.known_digests = known
    with pytest.raises(UserError, match=f"is not the digest of other/base:3: .*{words}"):
        archive(builder, world["a/middle:1"], "other/base:3", DIGEST)
    assert builder.built == []


@pytest.mark.parametrize(
    ("base", "digest", "words"),
    [
        ("other/base:3", "sha256:12", "BASE_DIGEST=sha256:12 must have the form sha256:"),
        ("foundation", DIGEST, "the base is the stand-in, which is built here"),
    ],
)
def test_an_unusable_digest_is_refused(world, builder, base, digest, words):
    with pytest.raises(UserError, match=words):
        archive(builder, world["a/middle:1"], base, digest)
    assert builder.pulled == builder.built == []


@pytest.mark.parametrize("base_image", ["other/base:3", "foundation"])
def test_a_release_needs_the_digest_of_a_published_base(world, builder, monkeypatch, base_image):
    monkeypatch.setattr(images, "find_builder", lambda _: builder)
    monkeypatch.setenv("BASE_IMAGE", base_image)
    monkeypatch.delenv("BASE_DIGEST", raising=False)
    wanted = [world["a/middle:1"]]
    if base_image == "foundation":
        assert images.archives(wanted, release=True)
        return
    with pytest.raises(UserError, match="need the digest of their base, other/base:3: set BASE_D"):
        images.archives(wanted, release=True)
    builder.known_digests = [DIGEST]
    monkeypatch.setenv("BASE_DIGEST", DIGEST)
    assert images.archives(wanted, release=True)


@pytest.mark.parametrize(
    "dockerfile",
    [*images.ROOT.glob("images/*/Dockerfile"), *images.ROOT.glob("examples/**/Dockerfile")],
    ids=lambda path: path.parent.name,
)
def test_dockerfiles_name_their_base_by_registry_and_date(dockerfile):
    named = re.findall(r"^(?:ARG BASE_IMAGE=|FROM )([^\s$]+)", dockerfile.read_text(), re.MULTILINE)
    assert named
    published = {name for name in named if not name.startswith("elyra/")}
    assert published <= {"scratch", base_images.FOUNDATION, base_images.DEBIAN}


def test_a_build_argument_is_an_input(world, builder, monkeypatch):
    first = archive(builder, world["a/leaf:2"])
    monkeypatch.setattr(images, "VERSION", "9.9.9")
    builder.built.clear()
    assert archive(builder, world["a/leaf:2"]).archive != first.archive
    assert builder.built == ["a/leaf:2"]


def test_pip_installs_the_wheel_of_this_checkout_without_cached_layers(world, builder):
    pinned = replace(world["a/leaf:2"], pinned=True)
    first = archive(builder, pinned)
    assert builder.uncached == ["a/leaf:2"]
    assert [wheel for _, wheel in builder.mounts] == [None, None, ImageBuilds.wheel]
    ImageBuilds.wheel.write_bytes(b"second")
    assert archive(builder, pinned).archive != first.archive


def test_base_images_of_ours_use_this_machines_debian_mirror(world, builder):
    archive(builder, world["a/leaf:2"])
    archive(builder, world["a/leaf:2"], base_image="other/base:3")
    sources = [sources for sources, _ in builder.mounts]
    assert sources == ["deb file:/packages bookworm main"] * 3 + [""] * 2


def test_an_unknown_image_is_refused_by_name(world):
    with pytest.raises(
        UserError, match="no image is called a/nothing:1; use one of: a/base:1, a/middle"
    ):
        images.ensure(["a/nothing:1"])
