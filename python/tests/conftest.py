"""Settings of all tests."""

from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

# No test measures time, and others run beside it.
settings.register_profile(
    "no-deadline", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("no-deadline")
settings.register_profile("fast", settings.get_profile("no-deadline"), max_examples=20)

# These break the cluster, for one another as well.
_ALONE = "tests/cluster/alone"
# Each takes minutes: begun last, they would prolong the whole run.
_LONGEST = (
    _ALONE,
    "tests/cluster/test_gateway_crashes.py",
    "tests/cluster/test_replicas.py",
    "tests/cluster/test_rollouts.py",
    "tests/cluster/test_scala_kernels.py",
    "tests/docker/test_gateway_restarts.py",
    "tests/protocol/test_scala_launcher.py",
    "tests/api/test_api_mailbox.py",
    "tests/unit/test_chart_values.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))


def pytest_terminal_summary(terminalreporter):
    """With `--durations`, print the minutes of each suite: the sum of its tests', some side by side."""
    if terminalreporter.config.option.durations is None:
        return
    minutes = Counter()
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if hasattr(report, "duration"):
            suite = Path(report.nodeid.partition("::")[0]).parent.as_posix()
            minutes[suite.removeprefix("tests/")] += report.duration / 60
    terminalreporter.section("minutes per suite")
    for suite, spent in minutes.most_common():
        terminalreporter.line(f"{spent:6.1f}  {suite}")


def pytest_xdist_make_scheduler(config, log):
    return _Modules(config, log)


class _Modules(LoadFileScheduling):
    """Each module at one worker, whose fixtures are made once; those of `_ALONE` at the same one."""

    def _split_scope(self, nodeid):
        return _ALONE if nodeid.startswith(_ALONE) else super()._split_scope(nodeid)
