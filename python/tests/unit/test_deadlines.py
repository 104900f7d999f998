"""The times at which kernels are to be shut down, in words."""

from datetime import datetime, timedelta, timezone

import pytest

from gateway_provisioners.gateway.kernels.deadlines import Deadline, span

BEGAN = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)


def after(seconds):
    return BEGAN + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("limit", "interval", "notice_seconds"),
    [(86_400, 60, 600), (3600, 60, 360), (3600, 400, 400), (100, 60, 60)],
)
def test_notice_of_a_lifetime(limit, interval, notice_seconds):
    deadline = Deadline.of_lifetime(BEGAN, limit, interval=interval)
    assert not deadline.is_near(after(limit - notice_seconds - 1))
    assert deadline.is_near(after(limit - notice_seconds))
    assert not deadline.is_due(after(limit - 1))
    assert deadline.is_due(after(limit))


def test_notice_of_an_idle_kernel_comes_one_interval_before():
    deadline = Deadline.of_idleness(BEGAN, 3600, interval=60)
    assert not deadline.is_near(after(3539))
    assert deadline.is_near(after(3540))


def test_words():
    lifetime = Deadline.of_lifetime(BEGAN, 86_400, interval=60)
    assert lifetime.announcement(after(86_400 - 600)) == (
        "This kernel is to be shut down in 10 minutes (12:00 UTC): it may run for 24 hours (max_lifetime), "
        "and a restart does not change that. Save your results."
    )
    assert lifetime.why == "The kernel has reached its maximum lifetime of 24 hours (max_lifetime)."
    idle = Deadline.of_idleness(BEGAN, 3600, interval=60)
    assert idle.announcement(after(3550)) == (
        "This kernel is to be shut down in 50 seconds (13:00 UTC): it may be idle for 60 minutes "
        "(cull_idle_timeout). Run a cell to keep it, or save your results."
    )
    assert idle.why == "The kernel was not in use for 60 minutes (cull_idle_timeout)."
    assert "in 0 seconds" in idle.announcement(after(4000))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (119, "119 seconds"), (5400, "90 minutes"), (100_000, "27.8 hours")],
)
def test_spans(seconds, words):
    assert span(seconds) == words
