"""The log: one line for each record, of bounded length and number."""

import io
import logging

import pytest

from gateway_provisioners.gateway.process import logs


@pytest.fixture
def log(monkeypatch):
    """A logger whose lines are in `log.stream`."""
    before = logging.getLogRecordFactory()
    logger = logging.Logger("test")  # noqa: LOG001 - of this test alone
    logger.stream = io.StringIO()
    handler = logging.StreamHandler(logger.stream)
    handler.setFormatter(logging.Formatter("[%(levelname).1s] %(message)s"))
    logger.addHandler(handler)
    logs.set_up(logger)
    yield logger
    logging.setLogRecordFactory(before)


def lines(log):
    return log.stream.getvalue().splitlines()


@pytest.mark.attack(20)
@pytest.mark.parametrize("separator", ["\n", "\r", "\x1b[2J", "\x85", "\u2028", "\x00", "\x0b"])
def test_record_is_one_line_whatever_is_in_it(log, separator):
    log.warning("User %s may not", f"alice{separator}[I] forged")
    [line] = lines(log)
    assert line.startswith("[W] User alice\\")
    assert line.isprintable()


def test_text_in_other_scripts_is_left_alone(log):
    log.warning("User %s", "Zoë 山田")
    assert lines(log) == ["[W] User Zoë 山田"]


@pytest.mark.attack(20)
def test_long_message_is_cut(log):
    log.warning("%s", "x" * 20_000_000)
    [line] = lines(log)
    assert len(line) < 1100
    assert line.endswith("(of 20000000 characters)")


def test_long_message_of_control_characters_is_cut(log):
    log.warning("%s", "\x1b" * 900)
    [line] = lines(log)
    assert len(line) < 1100


def test_lines_of_a_traceback_do_not_look_like_records(log):
    try:
        raise ValueError("no\n[I] forged\r\x1b[2J")  # noqa: TRY301
    except ValueError:
        log.exception("It failed")
    first, *others = lines(log)
    assert first == "[E] It failed"
    assert all(line.startswith("  ") and line.isprintable() for line in others)
    assert any("ValueError" in line for line in others)


def test_long_traceback_is_cut(log):
    try:
        raise ValueError("\n" * 1_000_000)  # noqa: TRY301
    except ValueError:
        log.exception("It failed")
    found = lines(log)
    assert len(found) < logs.MOST_LINES + 5
    assert any("ValueError" in line for line in found)


def test_flood_is_counted():
    clock = [0.0]
    flood = logs.FloodFilter(lambda: clock[0])

    def record(line, text="text", level=logging.WARNING):
        return logging.LogRecord("n", level, "file.py", line, text, (), None)

    assert sum(flood.filter(record(1)) for _ in range(1000)) == logs.MOST_RECORDS
    assert flood.filter(record(2)), "another place in the code is not affected"
    assert flood.filter(record(1, level=logging.ERROR)), "strangers do not hide errors of ours"
    clock[0] = logs.WINDOW_SECONDS
    first = record(2, "after it")
    assert flood.filter(first)
    assert (
        first.getMessage()
        == f"({1000 - logs.MOST_RECORDS} more log records like those before) after it"
    )
