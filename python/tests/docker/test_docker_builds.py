"""ENGINE=docker: an image is built, tried and checked as with buildah, and holds nothing of this machine."""

import sys
import uuid
from dataclasses import replace

import pytest

from ci import check_image, images
from ci.commands import CommandError
from ci.dockerd import Dockerd
from ci.engines import Docker
from ci.images import Builder

# Where a build of this image has mounts: apt's sources, a package index's settings, our wheel.
LEFT = """
ls /var/tmp /etc/apt/sources.list.d
grep --extended-regexp 'index|cert|constraint' /etc/pip.conf || true
"""


@pytest.fixture(scope="module")
def docker():
    """The docker CLI on an engine that can reach package registries, and that goes with all that is in it."""
    with pytest.MonkeyPatch.context() as patch:
        # Debian's CLI, which has BuildKit in it: others need a plugin for that.
        patch.setenv("PATH", "/usr/bin", prepend=":")
        builds = Dockerd(f"gp-test-{uuid.uuid4().hex[:8]}", closed=False)
        try:
            builds.up()
            patch.setenv("DOCKER_HOST", builds.host)
            patch.setenv("ENGINE", "docker")
            yield Docker()
        finally:
            builds.down()


@pytest.fixture(scope="module")
def built(docker):
    """An image that somebody brings along, built on the stand-in for docker-stacks."""
    builder = Builder(docker, "foundation")
    try:
        builder.build(images.FROM_DOCKER_STACKS)
        yield images.FROM_DOCKER_STACKS
    finally:
        builder.close()


def test_what_a_build_mounts_is_not_in_the_image(docker, built):
    assert docker.run(built.reference, LEFT).split() == ["/etc/apt/sources.list.d:", "/var/tmp:"]


def test_an_image_is_found_again_by_what_it_was_built_from(docker, built):
    again = Builder(docker, "foundation")
    try:
        assert docker.inputs_of(built.reference) == again.inputs(built)
    finally:
        again.close()


def test_a_build_that_fails_its_smoke_test_leaves_no_image(docker, built, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {built.reference}\n")
    (tmp_path / "smoke-test.sh").write_text("echo broken; exit 3\n")
    broken = replace(built, reference="gp-test/broken:1", folder=tmp_path, parent=built.reference)
    builder = Builder(docker, "foundation")
    try:
        with pytest.raises(CommandError, match="broken"):
            builder.build(broken)
    finally:
        builder.close()
    assert docker.image_id(broken.reference) is None


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


def test_its_archive_is_one_that_a_cluster_can_load(docker, built, tmp_path):
    archive = tmp_path / "image.tar"
    docker.export(built.reference, archive)
    assert images._unpacked_size(archive) > 100e6
