"""Parts of the extension of Jupyter servers that need no server."""

import json
import os
import sys

import pytest
from gateway_provisioners_client.gateway.progress import ProgressStep
from gateway_provisioners_client.server import starts as starts_module
from gateway_provisioners_client.server.help import help_for
from gateway_provisioners_client.server.legacy import from_legacy, to_legacy
from gateway_provisioners_client.server.started import StartedKernels
from gateway_provisioners_client.server.starts import Start, Starts
from gateway_provisioners_client.server.states import kernel_of_argv, state_of
from gateway_provisioners_client.session.frames import MalformedMessage

PARTS = [b'{"msg_id": "a", "msg_type": "stream"}', b"{}", b"{}", b'{"text": "x"}']


@pytest.mark.parametrize("buffers", [[], [b"\xff\0", b""]])
def test_messages_survive_the_older_protocol(buffers):
    frame = to_legacy("iopub", [*PARTS, *buffers])
    assert isinstance(frame, bytes if buffers else str)
    channel, parts = from_legacy(frame)
    assert channel == "iopub"
    assert [json.loads(part) for part in parts[:4]] == [json.loads(part) for part in PARTS]
    assert parts[4:] == buffers


@pytest.mark.attack(22)
@pytest.mark.parametrize(
    "part", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"a": 1} , "channel": "x"']
)
def test_a_kernels_parts_that_are_not_objects_are_refused(part):
    for place in range(4):
        parts = list(PARTS)
        parts[place] = part
        with pytest.raises(MalformedMessage):
            to_legacy("iopub", parts)


@pytest.mark.parametrize(
    "frame",
    ["", "[]", "1", "{", "[" * 100_000, b"", b"\0\0\0\1", b"\xff" * 64, b"\0\0\0\1\0\0\0\x08{}"],
)
def test_a_clients_frames_that_are_not_messages_are_refused(frame):
    with pytest.raises(MalformedMessage):
        from_legacy(frame)


@pytest.mark.attack(21)
def test_started_kernels_are_remembered_for_this_user_only(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    started = StartedKernels("http://gateway")
    for kernel_id in ("a-b", "c-d", "../x", "", ".."):
        started.add(kernel_id)
    assert started.among({"a-b", "../x", "e"}) == {"a-b"}
    assert StartedKernels("http://other").among({"a-b"}) == set()
    folder = next((tmp_path / "gateway-provisioners-client").iterdir())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    os.utime(folder / "a-b", (0, 0))
    os.utime(folder / "c-d", (0, 0))
    started.prune({"c-d"})
    assert started.among({"a-b", "c-d"}) == {"c-d"}
    started.forget("c-d")
    assert started.among({"a-b", "c-d"}) == set()


def test_a_folder_that_cannot_be_written_is_no_trouble(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    started = StartedKernels("http://gateway")
    started.add("a-b")
    assert started.among({"a-b"}) == set()


def test_a_kernelspecs_gateway_is_read_from_its_argv():
    argv = [
        sys.executable, "-m", "gateway_provisioners_client.kernel", "{connection_file}",
        "--kernel=custom", "--url=https://gateway", "--name=ours", "--pass-env=X",
    ]  # fmt: skip
    name, config = kernel_of_argv(argv)
    assert (name, config.url, config.name) == ("custom", "https://gateway", "ours")
    assert kernel_of_argv([*argv[:4], "--kernel=custom"]) is None
    assert kernel_of_argv([*argv, "--request-timeout=x"]) is None
    assert kernel_of_argv([sys.executable, "-m", "ipykernel_launcher"]) is None


@pytest.mark.attack(21)
def test_state_files_are_read_with_care(tmp_path):
    connection_file = str(tmp_path / "kernel-1.json")
    path = tmp_path / "kernel-1.json.gateway.json"
    assert state_of(connection_file) is None
    for text in ("", "[]", "{", "[" * 100_000):
        path.write_text(text)
        assert state_of(connection_file) is None
    path.write_text(json.dumps({"kernel_id": 1, "step": [], "starting": "x", "owner": None}))
    state = state_of(connection_file)
    assert (state.kernel_id, state.step, state.is_starting, state.owner) == ("", {}, True, "")
    target = tmp_path / "target"
    path.rename(target)
    path.symlink_to(target)
    assert state_of(connection_file) is None
    path.unlink()
    os.mkfifo(path)
    assert state_of(connection_file) is None


async def test_starts_are_kept_for_those_who_come_later(monkeypatch):
    monkeypatch.setattr(starts_module, "_MOST_EVENTS", 100)
    starts = Starts()
    first = Start(starts, "a", "custom", "x.ipynb", "ours")
    first.step(ProgressStep("pulling", "The node is pulling.", 1.0))
    second = Start(starts, "b", "custom", "", "ours")
    second.step(ProgressStep("pulling", "The node is pulling.", 1.0))
    first.step(
        ProgressStep("ready", "The kernel is up.", ready=True)
    )  # the answer to the start says so
    assert [event["id"] for _, event in starts.under_way()] == ["a", "b"]
    first.failed("ImagePull", "The image is nowhere.\nThe last lines of its log:\n one\ntwo")
    first.failed("", "The start was given up.")
    first.ready()
    assert [event["id"] for _, event in starts.under_way()] == ["b"]
    [(number, failed)] = starts.after(2)
    assert number == starts.last == 3
    assert failed["message"] == "The image is nowhere."
    assert failed["log"] == [" one", "two"]
    assert failed["path"] == "x.ipynb"
    second.ready()
    for _ in range(300):
        Start(starts, "c", "custom", "", "ours").step(ProgressStep("pulling", "", 1.0))
    assert len(starts.after(0)) == 100
    assert len(starts.under_way()) == 1
    await starts.wait(0, 240)


def test_help_is_a_page_for_words_of_the_gateway_only():
    assert help_for("ImagePull").endswith("/docs/troubleshooting.md#imagepull")
    for reason in ("", "a b", "#x", "../x", "x" * 65):
        assert help_for(reason) == ""
