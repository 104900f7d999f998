"""The audit log: one line for each operation, whatever is in it, and never in the gateway's way."""

import asyncio
import json
import os
import re
import stat
import threading
from pathlib import Path

import pytest

from gateway_provisioners.errors import ConfigurationError, KernelBusy, LaunchFailed
from gateway_provisioners.gateway.process import audit_output
from gateway_provisioners.gateway.process.audit import (
    LONGEST_VALUE,
    Actor,
    Audit,
    AuditedKernel,
    act_as,
    acting_because,
)
from gateway_provisioners.gateway.process.audit_output import (
    MOST_WAITING_BYTES,
    AppendedFile,
    AuditOutput,
)

KERNEL = AuditedKernel("1-2-3", "python3", "alice")
ALICE = {"user": "alice", "method": "sso", "address": "192.0.2.1"}


class Losses:
    """Counts lines that are lost; a test can wait for the next."""

    count = 0

    def __init__(self):
        self.next = threading.Semaphore(0)

    def __call__(self, count):
        self.count += count
        self.next.release()


@pytest.fixture
def losses():
    return Losses()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
def audit(file, losses):
    return Audit.to(str(file), losses)


def lines(file):
    """Return the values of each line of a file."""
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]]


def closed(audit, file):
    """Close it, and return what it has written."""
    audit.close()
    return lines(file)


def test_line_says_who_did_what_from_where_and_when(audit, file):
    audit.record("start", KERNEL, actor=Actor(**ALICE))
    [line] = closed(audit, file)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "event": "start",
        "outcome": "done",
        "reason": None,
        "user": "alice",
        "admin": False,
        "method": "sso",
        "address": "192.0.2.1",
        "kernel_id": "1-2-3",
        "kernel": "python3",
        "owner": "alice",
    }


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (KernelBusy("busy"), "refused", "KernelBusy"),
        (LaunchFailed("ImagePull", "a token"), "failed", "ImagePull"),
        (ValueError("a token"), "failed", "InternalServerError"),
    ],
)
def test_failure_is_recorded_by_its_reason_alone(audit, file, error, outcome, reason):
    with pytest.raises(type(error)), audit.operation("start", KERNEL):
        raise error
    [line] = closed(audit, file)
    assert (line["outcome"], line["reason"]) == (outcome, reason)
    assert "a token" not in file.read_text()


@pytest.mark.attack(20)
@pytest.mark.parametrize(
    "text", ['\n{"event": "forged"}\r\n', "\u2028\x85\x1b[2J\x00", "\ud800", '"']
)
def test_hostile_values_stay_in_their_line(audit, file, text):
    audit.record("start", AuditedKernel(text, text, text), actor=Actor(user=text, address=text))
    assert file.read_bytes().count(b"\n") <= 1
    [line] = closed(audit, file)
    assert line["user"] == line["kernel_id"] == line["owner"] == text
    assert file.read_bytes().rstrip(b"\n").decode("ascii").isprintable()


@pytest.mark.attack(20)
def test_long_values_are_cut(audit, file):
    audit.record("start", AuditedKernel("x" * 10**6), detail="\x00" * 10**6)
    [line] = closed(audit, file)
    assert len(line["kernel_id"]) == len(line["detail"]) == LONGEST_VALUE + 3
    assert file.stat().st_size < 10_000


async def test_what_a_request_does_is_done_by_its_client(audit, file):
    async def request():
        act_as(Actor(**ALICE))
        with audit.operation("end", KERNEL):
            await asyncio.sleep(0)

    await asyncio.create_task(request())
    audit.record("end", KERNEL)
    first, second = closed(audit, file)
    assert first["user"] == "alice"
    assert second["user"] is None


async def test_what_goes_on_after_the_answer_is_not_the_clients_doing(audit, file):
    answered = asyncio.Event()

    async def later():
        await answered.wait()
        audit.record("restart", KERNEL)

    async def request():
        actor = Actor(**ALICE)
        act_as(actor)
        going_on = asyncio.create_task(later())
        actor.is_acting = False
        answered.set()
        return going_on

    await (await asyncio.create_task(request()))
    [line] = closed(audit, file)
    assert line["user"] is line["address"] is None


async def test_gateways_own_doing_has_a_reason(audit, file):
    act_as(Actor(**ALICE))
    with acting_because("Idle"):
        audit.record("end", KERNEL)
    audit.record("end", KERNEL)
    first, second = closed(audit, file)
    assert (first["reason"], first["user"]) == ("Idle", None)
    assert (second["reason"], second["user"]) == (None, "alice")


def test_nothing_is_written_without_an_output(losses, capfd):
    audit = Audit.to("none", losses)
    audit.record("start", KERNEL)
    audit.close()
    assert capfd.readouterr() == ("", "")


def test_standard_output_gets_the_lines(losses, capfd):
    audit = Audit.to("stdout", losses)
    audit.record("start", KERNEL)
    audit.close()
    written = capfd.readouterr()
    assert json.loads(written.out)["event"] == "start"
    assert written.err == ""


def test_file_is_appended_to_and_only_its_owner_reads_it(audit, file, losses):
    audit.record("start", KERNEL)
    audit.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = Audit.to(str(file), losses)
    again.record("end", KERNEL)
    assert [line["event"] for line in closed(again, file)] == ["start", "end"]


class Pipe:
    """A destination that a test reads, and whose first lines it can wait for."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.error = None
        self.asked = threading.Semaphore(0)
        self.may_go_on = threading.Event()

    def descriptor(self):
        self.asked.release()
        assert self.may_go_on.wait(30)
        if self.error is not None:
            raise self.error
        return self.writer

    def close(self):
        os.close(self.writer)

    def rest(self):
        with os.fdopen(self.reader, "rb") as file:
            return file.read()


def test_file_that_was_moved_away_is_begun_anew(file, tmp_path):
    destination = AppendedFile(str(file))
    moved = tmp_path / "audit.log.1"
    os.write(destination.descriptor(), b"before\n")
    file.rename(moved)
    os.write(destination.descriptor(), b"after\n")
    destination.close()
    assert (moved.read_text(), file.read_text()) == ("before\n", "after\n")


def test_lines_beyond_those_that_may_wait_are_counted(losses):
    pipe = Pipe()
    output = AuditOutput(pipe, lambda count: b"lost %d\n" % count, losses)
    output.put(b"first\n")
    assert pipe.asked.acquire(timeout=30)
    line = b"x" * 1023 + b"\n"
    for _ in range(MOST_WAITING_BYTES // len(line)):
        output.put(line)
    assert losses.count == 0
    output.put(line)
    output.put(b"short, and there is no room\n")
    assert losses.count == 2
    written = []
    reader = threading.Thread(target=lambda: written.append(pipe.rest()))
    reader.start()
    pipe.may_go_on.set()
    output.close()
    reader.join(30)
    first, lost, *others = written[0].splitlines(keepends=True)
    assert (first, lost) == (b"first\n", b"lost 2\n")
    assert others == [line] * (MOST_WAITING_BYTES // len(line))


def test_destination_that_fails_is_logged_once_and_used_again(losses, caplog):
    pipe = Pipe()
    pipe.may_go_on.set()
    pipe.error = OSError(28, "No space left on device")
    output = AuditOutput(pipe, lambda count: b"lost %d\n" % count, losses)
    for _ in range(2):
        output.put(b"line\n")
        assert losses.next.acquire(timeout=30)
    pipe.error = None
    output.put(b"third\n")
    output.close()
    assert pipe.rest() == b"lost 2\nthird\n"
    assert caplog.text.count("No space left on device") == 1


def test_line_that_was_cut_off_ends_before_the_next(losses, monkeypatch):
    pipe = Pipe()
    pipe.may_go_on.set()
    answers = [3, OSError(28, "No space left on device")]

    def write(descriptor, data):
        answer = answers.pop(0) if answers else len(data)
        if isinstance(answer, OSError):
            raise answer
        return os.writev(descriptor, [data[:answer]])

    monkeypatch.setattr(audit_output.os, "write", write)
    output = AuditOutput(pipe, lambda count: b"lost %d\n" % count, losses)
    output.put(b"first\n")
    assert losses.next.acquire(timeout=30)
    output.put(b"second\n")
    output.close()
    assert pipe.rest() == b"fir\nlost 1\nsecond\n"


def test_gateway_stops_though_the_output_is_blocked(losses, monkeypatch, caplog):
    monkeypatch.setattr(audit_output, "CLOSE_SECONDS", 0.01)
    pipe = Pipe()
    output = AuditOutput(pipe, lambda _count: b"", losses)
    output.put(b"line\n")
    output.close()
    assert "could not be written in time" in caplog.text
    pipe.may_go_on.set()
    output._thread.join(30)
    os.close(pipe.reader)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("STDOUT", "must be stdout, none or the absolute path of a file, not 'STDOUT'"),
        ("audit.log", "absolute path"),
        ("/no/such/folder/audit.log", "No such file or directory: /no/such/folder/audit.log"),
        ("{tmp}", "Is a directory"),
        ("{tmp}/pipe", "No such device or address"),
    ],
)
def test_target_that_cannot_be_written_is_refused(tmp_path, losses, target, words):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        Audit.to(target.format(tmp=tmp_path), losses)


def test_device_can_be_the_target(losses):
    assert Path("/dev/null").exists()
    audit = Audit.to("/dev/null", losses)
    audit.record("start", KERNEL)
    audit.close()
    assert losses.count == 0
