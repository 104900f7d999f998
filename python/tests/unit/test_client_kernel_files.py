"""The kernel program's state file, signatures and options."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from gateway_provisioners_client.kernel import state_file
from gateway_provisioners_client.kernel.options import parse
from gateway_provisioners_client.kernel.plan import plan_for
from gateway_provisioners_client.kernel.signing import Signer
from gateway_provisioners_client.kernel.state_file import StateFile

PARTS = [b"{}", b"{}", b"{}", b'{"code": "1"}']


@pytest.fixture
def file(tmp_path):
    return StateFile(str(tmp_path / "connection.json"))


def test_a_state_file_is_private_and_changed_as_a_whole(file, tmp_path):
    file.update(kernel_id="a", starting=True)
    file.update(starting=False)
    content = state_file.read(file.path)
    assert content == {
        "version": 1,
        "pid": os.getpid(),
        "owner": file.owner,
        "kernel_id": "a",
        "starting": False,
    }
    assert stat.S_IMODE(Path(file.path).stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["connection.json.gateway.json"]


def test_a_state_file_is_claimed_once(file):
    file.update(kernel_id="a")
    assert file.claim()["kernel_id"] == "a"
    assert file.claim() == {}


def test_a_state_file_of_another_owner_is_not_claimed(file):
    file.update(kernel_id="a")
    assert state_file.claim(file.path, "another") == {}
    assert state_file.read(file.path)["owner"] == file.owner
    assert state_file.claim(file.path, file.owner)["kernel_id"] == "a"


def test_a_removed_state_file_leaves_nothing(file, tmp_path):
    file.update(kernel_id="a")
    file.remove()
    file.remove()
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_is_not_there_is_done_without(tmp_path):
    file = StateFile(str(tmp_path / "none" / "connection.json"))
    file.update(kernel_id="a")
    assert file.claim() == {}


@pytest.mark.attack(21)
@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_state_file_that_others_can_open_is_not_read(file, mode):
    file.update(kernel_id="a")
    Path(file.path).chmod(mode)
    assert state_file.read(file.path) == {}


@pytest.mark.attack(21)
def test_a_link_or_pipe_is_not_a_state_file(file, tmp_path):
    target = tmp_path / "target"
    target.write_text('{"kernel_id": "a"}')
    target.chmod(0o600)
    Path(file.path).symlink_to(target)
    assert state_file.read(file.path) == {}
    file.update(kernel_id="b")
    assert target.read_text() == '{"kernel_id": "a"}'
    assert state_file.read(file.path)["kernel_id"] == "b"
    file.remove()
    os.mkfifo(file.path, 0o600)
    assert state_file.read(file.path) == {}


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, "\udcff"])
def test_a_broken_state_file_counts_as_none(file, content):
    descriptor = os.open(file.path, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as writing:
        writing.write(content.encode("utf-8", "surrogateescape"))
    assert state_file.read(file.path) == {}
    assert file.claim() == {}


def test_a_signature_is_of_the_four_parts_and_not_of_buffers():
    signer = Signer(b"key", "sha256")
    assert signer.sign([*PARTS, b"buffer"]) == signer.sign(PARTS)
    for number in range(4):
        other = [*PARTS]
        other[number] = b"[]"
        assert signer.sign(other) != signer.sign(PARTS)


@pytest.mark.attack(21)
def test_only_a_message_with_the_key_is_taken_and_only_once():
    signer = Signer(b"key", "sha256")
    good = Signer(b"key", "sha256").sign(PARTS)
    for wrong in (b"", b"0" * 64, good.upper(), good[:-1], Signer(b"other", "sha256").sign(PARTS)):
        assert not signer.is_genuine(wrong, PARTS)
    assert signer.is_genuine(good, PARTS)
    assert not signer.is_genuine(good, PARTS)


def test_without_a_key_all_messages_are_taken():
    signer = Signer(b"", "sha256")
    assert signer.sign(PARTS) == b""
    assert signer.is_genuine(b"", PARTS)
    assert signer.is_genuine(b"", PARTS)


def options(*further):
    return parse(["file.json", "--kernel=python3", "--url=http://127.0.0.1:9", *further])


def left_by(options_, **changes):
    left = {
        "kernel_id": "a",
        "kernel_name": "python3",
        "options": options_.config.to_options(),
        "starting": False,
    }
    return json.loads(json.dumps({**left, **changes}))


def test_the_next_process_restarts_the_kernel_of_the_one_before():
    plan = plan_for(options(), left_by(options()))
    assert (plan.kernel_id, plan.restart, plan.abandoned) == ("a", True, "")


def test_a_kernel_that_did_not_come_up_is_abandoned():
    plan = plan_for(options(), left_by(options(), starting=True))
    assert (plan.restart, plan.abandoned) == (False, "a")
    assert plan.kernel_id != "a"


@pytest.mark.parametrize(
    "changes", [{"kernel_name": "other"}, {"options": ["--url=http://other"]}, {"kernel_id": 1}]
)
def test_a_file_of_another_kernel_is_not_taken_up(changes):
    plan = plan_for(options(), left_by(options(), **changes))
    assert (plan.restart, plan.abandoned) == (False, "")


def test_a_kernel_to_attach_to_is_named_by_the_environment(monkeypatch):
    monkeypatch.setenv("GATEWAY_KERNEL_ATTACH", "b")
    plan = plan_for(options(), {})
    assert (plan.kernel_id, plan.attach, plan.restart) == ("b", True, False)
