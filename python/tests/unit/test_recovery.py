"""The plan of a gateway that starts for the workloads on its engine."""

import pytest
from kernel_records import stored_kernel

from gateway_provisioners.model.recovery import plan_recovery, read_time


@pytest.mark.parametrize(
    ("stored", "existing", "adopt", "forget", "remove"),
    [
        ({}, "", "", "", ""),
        ({"a": stored_kernel()}, "a", "a", "", ""),
        ({"a": stored_kernel()}, "", "", "a", ""),
        ({}, "a", "", "", "a"),
        # A restart, from its announcement until the old workload is forgotten.
        ({"a": stored_kernel(restarting=True)}, "a", "a", "", ""),
        ({"a": stored_kernel(restarting=True)}, "", "a", "", ""),
        ({"a": stored_kernel(restarting=True)}, "b", "a", "", "b"),
        ({"a": stored_kernel(restarting=True), "b": stored_kernel(attempt=2)}, "b", "b", "a", ""),
        ({"b": stored_kernel(attempt=2), "a": stored_kernel(restarting=True)}, "ab", "b", "a", "a"),
        ({"a": stored_kernel("x"), "b": stored_kernel("y")}, "ab", "ab", "", ""),
    ],
)
def test_recovery(stored, existing, adopt, forget, remove):
    plan = plan_recovery(stored, existing, newer={})
    assert (plan.adopt, plan.forget, plan.remove) == (set(adopt), set(forget), set(remove))


@pytest.mark.parametrize(
    ("stored", "newer", "existing", "adopt", "forget", "remove"),
    [
        ({}, {"a": "k"}, "a", "", "", ""),
        ({}, {"a": "k"}, "", "", "", ""),
        ({}, {"a": ""}, "ab", "", "", "b"),
        # A newer gateway replaced a workload that an older one had stored.
        ({"a": stored_kernel(restarting=True)}, {"b": "k"}, "ab", "", "", ""),
        ({"a": stored_kernel()}, {"b": "k"}, "b", "", "", ""),
        ({"a": stored_kernel("x"), "c": stored_kernel("y")}, {"b": "k"}, "abd", "a", "c", "d"),
    ],
)
def test_newer_kernels_are_neither_adopted_nor_removed(
    stored, newer, existing, adopt, forget, remove
):
    plan = plan_recovery(stored, existing, newer=newer)
    assert (plan.adopt, plan.forget, plan.remove) == (set(adopt), set(forget), set(remove))


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-01T00:00:00", "9" * 5000])
def test_stored_time_that_makes_no_sense_is_unknown(text):
    """Times with and without a time zone cannot be compared."""
    assert read_time(text) is None


def test_stored_time_is_read():
    assert read_time("2026-01-01T00:00:00+00:00").isoformat() == "2026-01-01T00:00:00+00:00"
