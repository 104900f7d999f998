"""From samples to rows: medians, ratios, targets; as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, isinf
from statistics import median

from ci.bench.measure import Samples


@dataclass(frozen=True)
class Row:
    """One thing that was measured. A target is the highest ratio, or the highest number, that it may have."""

    title: str
    unit: str
    ours: float
    peer: float | None = None
    baseline: float | None = None
    baseline_is: str = ""
    target_of_peer: float | None = None
    target_of_baseline: float | None = None
    target: float | None = None
    peer_is: str = ""

    @property
    def of_peer(self) -> float | None:
        return self.ours / self.peer if self.peer else None

    @property
    def of_baseline(self) -> float | None:
        return self.ours / self.baseline if self.baseline else None

    def missed(self) -> list[str]:
        """Say in words which targets were not reached."""
        words: list[str] = []
        for ratio, target, other in (
            (self.of_peer, self.target_of_peer, "the peer's"),
            (self.of_baseline, self.target_of_baseline, f"the baseline ({self.baseline_is})"),
        ):
            if target is not None and (ratio is None or ratio > target):
                words.append(f"{self.title}: {times(ratio)} {other}, not <= {target:.3g}x")
        if self.target is not None and self.ours > self.target:
            words.append(f"{self.title}: {number(self.ours)}, not <= {self.target:g}")
        return words

    @property
    def targets(self) -> str:
        parts = []
        if self.target_of_peer is not None:
            parts.append(f"<= {self.target_of_peer:g}x peer")
        if self.target_of_baseline is not None:
            parts.append(f"<= {self.target_of_baseline:.3g}x baseline")
        if self.target is not None:
            parts.append(f"<= {self.target:g}")
        return ", ".join(parts)

    @property
    def reached(self) -> str:
        if not self.targets:
            return ""
        return "no" if self.missed() else "yes"


class _Measured:
    """Medians of samples, and the rows that are made of them."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __contains__(self, name: str) -> bool:
        return name in self._samples

    def of(self, name: str, who: str, scale: float = 1) -> float:
        return median(self._samples[name][who]) * scale

    def known(self, name: str) -> Collection[str]:
        return self._samples[name]

    def percentile(self, name: str, who: str, percent: int) -> float:
        ordered = sorted(self._samples[name][who])
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]

    def both(self, name: str, scale: float = 1) -> tuple[float, float]:
        return self.of(name, "ours", scale), self.of(name, "peer", scale)

    def has(self, name: str, who: str) -> bool:
        return bool(self._samples[name][who])

    def longest(self, name: str, who: str) -> float | None:
        return max(self._samples[name][who], default=None)

    def most(self, name: str) -> tuple[float, float]:
        return max(self._samples[name]["ours"]), max(self._samples[name]["peer"])


_BARE_POD = "bare pod reported as Running"
_BARE_CONTAINER = "bare container started"


def _start_baseline(bare: str) -> str:
    return f"{bare} + kernel start on this host"


def _starts(of: _Measured, bare: str, target: float) -> list[Row]:
    name = "first_result"
    baseline = of.of(name, "bare")
    return [
        Row(
            "Cold start, first result",
            "s",
            *of.both(name),
            baseline + of.of(name, "local_kernel"),
            _start_baseline(bare),
            target,
        ),
        Row(
            "Cold start, POST answered",
            "s",
            *of.both("answered"),
            baseline,
            bare,
        ),
    ]


def _together(of: _Measured, bare: str, target: float) -> list[Row]:
    name = "first_result_10_at_once"
    baseline = of.of(name, "bare") + of.of(name, "local_kernel")
    return [
        Row(
            "10 at once, first result",
            "s",
            *of.both(name),
            baseline,
            f"10 x ({_start_baseline(bare)})",
            target,
        )
    ]


def _languages(of: _Measured) -> list[Row]:
    return [
        Row(f"Cold start of a kernel in {language}, first result", "s", of.of(name, "ours"))
        for language, name in (("R", "first_result_r"), ("Scala", "first_result_scala"))
    ]


def _executions(of: _Measured) -> list[Row]:
    return [
        Row(
            "Execute round trip",
            "ms",
            *of.both("round_trip", 1e3),
            of.of("round_trip", "direct_zmq", 1e3),
            "ZMQ to a kernel of ours, no gateway",
            0.25,
            1.5,
        )
    ]


def _idle(of: _Measured) -> list[Row]:
    return [
        Row("LISTs in 30 s, 5 idle kernels", "", *of.both("idle_list_requests"), target=0),
        Row("Other API requests, same 30 s", "", *of.both("idle_other_requests")),
        *_usage(of),
    ]


def _usage(of: _Measured) -> list[Row]:
    return [
        Row("Gateway CPU, 20 idle kernels", "s/min", *of.both("cpu_per_minute")),
        Row("Gateway memory, 20 idle kernels", "MB", *of.both("memory", 1e-6)),
    ]


def _adoption(of: _Measured) -> list[Row]:
    baseline = of.of("adoption_0", "ours")
    baseline_is = "a gateway that starts without kernels"
    what = {1: "1 kernel", 50: "50 kernels", 500: "500 kernels, simulated"}
    return [
        *(
            Row(
                f"Adoption of {words}",
                "s",
                of.of(f"adoption_{count}", "ours"),
                baseline=baseline,
                baseline_is=baseline_is,
            )
            for count, words in what.items()
        ),
        Row(
            "Gateway memory, 500 kernels, simulated",
            "MB",
            of.of("adoption_500_memory", "ours", 1e-6),
            baseline=of.of("adoption_0_memory", "ours", 1e-6),
            baseline_is=baseline_is,
        ),
    ]


def _rollout(of: _Measured) -> list[Row]:
    table = []
    for replicas in ("1 replica", "3 replicas"):
        name = f"rollout_{replicas[0]}"
        gap, peers_gap = of.longest(f"{name}_gap", "ours"), of.longest(f"{name}_gap", "peer")
        title = f"rollout, {replicas}"
        lost = of.most(f"{name}_lost")
        table += [
            Row(
                f"Longest gap in a {title}",
                "s",
                gap if gap is not None else inf,
                peers_gap,
                peer_is="" if peers_gap is not None else "kernels lost",
            ),
            Row(f"Kernels of 5 lost in a {title}", "", *lost, target=0),
        ]
    return table


def _docker_executions(of: _Measured) -> list[Row]:
    return [Row("Execute round trip", "ms", *of.both("round_trip", 1e3), target_of_peer=0.25)]


def _restarts(of: _Measured) -> list[Row]:
    peer = of.of("restart", "peer") if of.has("restart", "peer") else None
    return [
        Row(
            "Restart, first result",
            "s",
            of.of("restart", "ours"),
            peer,
            target_of_peer=None if peer is None else 1,
            peer_is="fails" if peer is None else "",
        )
    ]


def _shutdowns(of: _Measured) -> list[Row]:
    title = "Shutdown until the container is gone"
    return [Row(title, "s", *of.both("shutdown"))]


def _refusals(of: _Measured) -> list[Row]:
    kinds = {
        "missing": "Missing image, until the client gets the error",
        "ending": "Container that ends at once, until the client gets the error",
    }
    return [
        Row(title, "s", *of.both(f"refusal_{kind}"), target_of_peer=1)
        for kind, title in kinds.items()
    ]


_Rows = Mapping[str, Callable[[_Measured], list[Row]]]

_CLUSTER_ROWS: _Rows = {
    "first_result": partial(_starts, bare=_BARE_POD, target=0.6),
    "first_result_10_at_once": partial(_together, bare=_BARE_POD, target=0.4),
    "round_trip": _executions,
    "first_result_r": _languages,
    "memory": _idle,
    "adoption_0": _adoption,
    "rollout_1_gap": _rollout,
}
# An engine starts a container in half the time of a pod: what a gateway can do about a start is less.
_DOCKER_ROWS: _Rows = {
    "first_result": partial(_starts, bare=_BARE_CONTAINER, target=0.75),
    "first_result_10_at_once": partial(_together, bare=_BARE_CONTAINER, target=0.75),
    "round_trip": _docker_executions,
    "restart": _restarts,
    "shutdown": _shutdowns,
    "refusal_missing": _refusals,
    "memory": _usage,
}


def load_rows(samples: Samples) -> list[Row]:
    """Make the rows of the gateway under load."""
    of = _Measured(samples)
    return [
        *_beside(of, "load_round_trip", "silent_clients", "50 clients that do not read", 3),
        *_beside(of, "greedy_round_trip", "greedy_readers", "10 greedy readers", 3),
        *_beside(of, "many_round_trip", "many_kernels", "1000 kernels, 300 websockets", 1.3)[:1],
        *(
            Row(
                f"60 outputs of 1 MB, {protocol} protocol",
                "s",
                of.of(name, "ours"),
                baseline=of.of(name, "local"),
                baseline_is="a local Jupyter server",
                target_of_baseline=1.25,
            )
            for name, protocol in (("bulk_v1", "v1"), ("bulk_older", "older"))
        ),
        Row(
            "Gateway memory at most, 50 clients that do not read",
            "MiB",
            of.of("load_memory", "silent_clients", 2**-20),
            target=256,
        ),
        Row(
            "Gateway memory, 1000 kernels, 300 websockets",
            "MiB",
            of.of("load_memory", "many_kernels", 2**-20),
        ),
        Row(
            "Gateway CPU, 1000 idle kernels, 300 websockets",
            "% of a core",
            of.of("many_cpu", "ours", 100),
            target=5,
        ),
    ]


def client_rows(samples: Samples) -> list[Row]:
    """Make the rows of kernelspecs of a gateway, beside its websocket alone."""
    of = _Measured(samples)
    titles = {
        "client_start": ("Start until the first reply", "s", 1, None),
        "client_round_trip": ("Execute round trip", "ms", 1e3, 1.5),
        # At least 0.7 of the throughput.
        "client_bulk": ("60 outputs of 1 MB", "s", 1, 1 / 0.7),
    }
    table = [
        Row(
            title,
            unit,
            of.of(name, "ours", scale),
            baseline=of.of(name, "gateway", scale),
            baseline_is="the gateway's websocket alone",
            target_of_baseline=target,
        )
        for name, (title, unit, scale, target) in titles.items()
    ]
    added = of.of("client_start_added", "ours", 1e3)
    return [*table, Row("Time that the kernelspec adds to a start", "ms", added, target=150)]


def _beside(of: _Measured, name: str, who: str, words: str, target: float) -> list[Row]:
    """Make the rows of a user's round trip beside others, against that in an idle gateway."""
    baseline = "one_kernel" if "one_kernel" in of.known(name) else "idle"
    return [
        Row(
            f"Round trip beside {words}, p{percent}",
            "ms",
            of.percentile(name, who, percent) * 1e3,
            baseline=of.percentile(name, baseline, percent) * 1e3,
            baseline_is="the idle gateway",
            target_of_baseline=target,
        )
        for percent in (50, 99)
    ]


def rows(samples: Samples) -> list[Row]:
    """Make the rows of the cluster's table, of what was measured."""
    return _rows(samples, _CLUSTER_ROWS)


def docker_rows(samples: Samples) -> list[Row]:
    """Make the rows of the Docker engine's table, of what was measured."""
    return _rows(samples, _DOCKER_ROWS)


def _rows(samples: Samples, kinds: _Rows) -> list[Row]:
    of = _Measured(samples)
    table = [row for name, make in kinds.items() if name in of for row in make(of)]
    return [*table, Row("Failed starts in this run", "", *of.both("failed_starts"), target=0)]


def number(value: float | None) -> str:
    """A value in three digits or so."""
    if value is None or isinf(value):
        return "-"
    if value == int(value) or value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(ratio: float | None) -> str:
    """A ratio in words; a dash without one."""
    return "-" if ratio is None else f"{ratio:.2f}x"


_HEAD = (
    "what",
    "ours/peer",
    "ours/baseline",
    "target",
    "reached",
    "unit",
    "ours",
    "peer",
    "baseline",
)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.title,
        times(row.of_peer),
        times(row.of_baseline),
        row.targets,
        row.reached,
        row.unit,
        number(row.ours),
        row.peer_is or number(row.peer),
        number(row.baseline),
    )


def text(table: Sequence[Row]) -> str:
    """The table for a terminal."""
    lines = [_HEAD, *map(_cells, table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(table: Sequence[Row]) -> str:
    """The table for a page, with what each baseline is below it."""
    lines = [_HEAD, tuple("---" for _ in _HEAD), *map(_cells, table)]
    notes = [f"Baseline of *{row.title}*: {row.baseline_is}." for row in table if row.baseline_is]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", *notes, ""])


def misses(table: Sequence[Row]) -> list[str]:
    """Every target that was not reached, in words."""
    return [words for row in table for words in row.missed()]
