"""Installing files: complete or not at all, without leftovers of a failure."""

import errno
import os
from pathlib import Path

import pytest

from gateway_provisioners.cli.install_files import (
    NewFile,
    install_file,
    install_folder,
    read_folder,
)
from gateway_provisioners.errors import ConfigurationError

FILES = {"kernel.json": NewFile(b"{}"), "scripts/launch.sh": NewFile(b"#!/bin/sh", executable=True)}


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def disk_full(monkeypatch):
    """Fail when the file of that name is written."""

    def fail_at(name):
        write_bytes = Path.write_bytes

        def write(path, content):
            if path.name == name:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write_bytes(path, content)

        monkeypatch.setattr(Path, "write_bytes", write)

    return fail_at


def test_what_is_installed_reads_back(tmp_path):
    install_folder(tmp_path / "kernels" / "spec", FILES)
    assert read_folder(tmp_path / "kernels" / "spec") == FILES
    assert [path.name for path in (tmp_path / "kernels").iterdir()] == ["spec"]


def test_failure_halfway_leaves_nothing(tmp_path, disk_full):
    disk_full("launch.sh")
    with pytest.raises(ConfigurationError, match="No space left on device"):
        install_folder(tmp_path / "spec", FILES)
    assert list(tmp_path.iterdir()) == []


def test_failure_halfway_keeps_the_old_folder(tmp_path, disk_full):
    old = {"kernel.json": NewFile(b"old"), "logo.svg": NewFile(b"old")}
    install_folder(tmp_path / "spec", old)
    disk_full("launch.sh")
    with pytest.raises(ConfigurationError):
        install_folder(tmp_path / "spec", FILES)
    assert tree(tmp_path) == {"spec/kernel.json": b"old", "spec/logo.svg": b"old"}


def test_failure_of_the_last_step_restores_the_old_folder(tmp_path, monkeypatch):
    install_folder(tmp_path / "spec", {"kernel.json": NewFile(b"old")})

    def rename(path, target):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(ConfigurationError, match="Input/output error"):
        install_folder(tmp_path / "spec", FILES)
    assert tree(tmp_path) == {"spec/kernel.json": b"old"}


def test_folder_of_a_lower_image_layer_is_replaced(tmp_path, monkeypatch):
    """On overlayfs such a folder cannot be renamed, only copied and deleted."""
    install_folder(tmp_path / "spec", {"old": NewFile(b"")})
    rename = os.rename

    def rename_as_on_overlayfs(source, target):
        if source == tmp_path / "spec":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_as_on_overlayfs)
    install_folder(tmp_path / "spec", FILES)
    assert read_folder(tmp_path / "spec") == FILES


def test_single_file_is_replaced_whole(tmp_path, disk_full):
    install_file(tmp_path / "bin" / "start.sh", NewFile(b"old", executable=True))
    disk_full("start.sh")
    with pytest.raises(ConfigurationError, match="Cannot write"):
        install_file(tmp_path / "bin" / "start.sh", NewFile(b"new", executable=True))
    assert tree(tmp_path) == {"bin/start.sh": b"old"}
