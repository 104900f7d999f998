"""BUILDER=docker and podman: an image is built, tried and checked as with buildah."""

import sys
import uuid
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest

from ci import check_image, images
from ci.builders import Docker, Podman
from ci.commands import CommandError, UserError
from ci.dockerd import Dockerd
from ci.images import ImageBuilds
from ci.podman_service import PodmanService

# Where a build of this image has mounts: apt's sources, a package index's settings, our wheel.
# podman leaves empty files that it mounted onto.
LEFT = """
find /var/tmp /etc/apt/sources.list.d -type f -size +0
grep --extended-regexp 'index|cert|constraint' /etc/pip.conf || true
"""


@contextmanager
def docker(patch):
    """The docker CLI, on an engine of its own."""
    # Debian's CLI, which has BuildKit in it: others need a plugin for that.
    patch.setenv("PATH", "/usr/bin", prepend=":")
    with service(Dockerd) as own:
        patch.setenv("DOCKER_HOST", own.host)
        yield Docker()


@contextmanager
def podman(patch):
    """Likewise the podman CLI."""
    with service(PodmanService) as own:
        patch.setenv("PATH", str(own.command()), prepend=":")
        yield Podman()


@contextmanager
def service(kind):
    """An engine that can reach package registries, and that goes with all that is in it."""
    own = kind(f"gp-test-{uuid.uuid4().hex[:8]}", closed=False)
    try:
        own.up()
        yield own
    finally:
        own.down()


@pytest.fixture(scope="module", params=[docker, podman])
def builder(request):
    """The builder that BUILDER chooses."""
    with pytest.MonkeyPatch.context() as patch, request.param(patch) as builder:
        patch.setenv("BUILDER", builder.name)
        yield builder


@pytest.fixture(scope="module")
def built(builder):
    """A custom image, built on the base image of ours."""
    builds = ImageBuilds(builder, "foundation")
    try:
        builds.build(images.FROM_DOCKER_STACKS)
        yield images.FROM_DOCKER_STACKS
    finally:
        builds.close()


def test_mounts_of_a_build_are_not_in_the_image(builder, built):
    assert builder.run(built.reference, LEFT) == ""


def test_an_image_is_found_again_by_the_hash_of_its_inputs(builder, built):
    again = ImageBuilds(builder, "foundation")
    try:
        assert builder.inputs_of(built.reference) == again.inputs(built)
    finally:
        again.close()


def test_a_build_that_fails_its_smoke_test_leaves_no_image(builder, built, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {built.reference}\n")
    (tmp_path / "smoke-test.sh").write_text("echo broken; exit 3\n")
    broken = replace(built, reference="gp-test/broken:1", folder=tmp_path, parent=built.reference)
    builds = ImageBuilds(builder, "foundation")
    try:
        with pytest.raises(CommandError, match="broken"):
            builds.build(broken)
    finally:
        builds.close()
    assert builder.image_id(broken.reference) is None


def test_a_base_from_here_is_used_and_has_no_other_digest(builder, built, tmp_path):
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE=none\nFROM ${BASE_IMAGE}\n")
    (tmp_path / "smoke-test.sh").write_text("true\n")
    base = images.FOUNDATION.reference
    image = images.Image("gp-test/on-a-base:1", tmp_path, base)
    for digest in ("", f"sha256:{'1' * 64}"):
        builds = ImageBuilds(builder, base, digest)
        try:
            with pytest.raises(UserError, match="not the digest") if digest else nullcontext():
                builds.build(image)
        finally:
            builds.close()
    assert builder.image_id(image.reference)


def test_a_kernel_of_it_runs_as_the_gateway_would_start_it(built, monkeypatch, capsys):
    argv = [
        "check_image",
        built.reference,
        "--language=python",
        f"--user={check_image.USERS[0].ids}",
    ]
    monkeypatch.setattr(sys, "argv", argv)
    assert check_image.main() == 0
    assert f"Kernels can run in {built.reference}: python." in capsys.readouterr().out


def test_its_archive_is_one_that_a_cluster_can_load(builder, built, tmp_path):
    archive = tmp_path / "image.tar"
    builder.export(built.reference, archive)
    assert images._unpacked_size(archive) > 100e6
