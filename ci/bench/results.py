"""From samples to rows: medians, ratios, targets; as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ci.bench.measure import Samples


@dataclass(frozen=True)
class Row:
    """One thing that was measured. A target is the highest ratio, or the highest number, that it may have."""

    title: str
    unit: str
    ours: float
    peer: float
    floor: float | None = None
    floor_is: str = ""
    target_of_peer: float | None = None
    target_of_floor: float | None = None
    target: float | None = None

    @property
    def of_peer(self) -> float | None:
        return self.ours / self.peer if self.peer else None

    @property
    def of_floor(self) -> float | None:
        return self.ours / self.floor if self.floor else None

    def missed(self) -> list[str]:
        """Say in words which targets were not reached."""
        words: list[str] = []
        for ratio, target, other in (
            (self.of_peer, self.target_of_peer, "the peer's"),
            (self.of_floor, self.target_of_floor, f"the floor ({self.floor_is})"),
        ):
            if target is not None and (ratio is None or ratio > target):
                words.append(f"{self.title}: {times(ratio)} {other}, not <= {target:g}x")
        if self.target is not None and self.ours > self.target:
            words.append(f"{self.title}: {number(self.ours)}, not <= {self.target:g}")
        return words

    @property
    def targets(self) -> str:
        parts = []
        if self.target_of_peer is not None:
            parts.append(f"<= {self.target_of_peer:g}x peer")
        if self.target_of_floor is not None:
            parts.append(f"<= {self.target_of_floor:g}x floor")
        if self.target is not None:
            parts.append(f"<= {self.target:g}")
        return ", ".join(parts)

    @property
    def reached(self) -> str:
        if not self.targets:
            return ""
        return "no" if self.missed() else "yes"


def rows(samples: Samples) -> list[Row]:
    """Make the rows of the table."""

    def of(name: str, who: str, scale: float = 1) -> float:
        return median(samples[name][who]) * scale

    def cold_floor(name: str) -> float:
        return of(name, "bare_pod") + of(name, "local_kernel")

    def both(name: str, scale: float = 1) -> tuple[float, float]:
        return of(name, "ours", scale), of(name, "peer", scale)

    floor_is = "bare pod reported as Running + kernel start on this host"
    one, many = "first_result", "first_result_10_at_once"
    return [
        Row("Cold start, first result", "s", *both(one), cold_floor(one), floor_is, 0.6),
        Row(
            "Cold start, POST answered",
            "s",
            *both("answered"),
            of(one, "bare_pod"),
            "bare pod reported as Running",
        ),
        Row(
            "10 at once, first result",
            "s",
            *both(many),
            cold_floor(many),
            f"10 x ({floor_is})",
            0.4,
        ),
        Row(
            "Execute round trip",
            "ms",
            *both("round_trip", 1e3),
            of("round_trip", "direct_zmq", 1e3),
            "ZMQ to a kernel of ours, no gateway",
            0.25,
            1.5,
        ),
        Row("LISTs in 30 s, 5 idle kernels", "", *both("idle_list_requests"), target=0),
        Row("Other API requests, same 30 s", "", *both("idle_other_requests")),
        Row("Failed starts in this run", "", *both("failed_starts"), target=0),
        Row("Gateway CPU, 20 idle kernels", "s/min", *both("cpu_per_minute")),
        Row("Gateway memory, 20 idle kernels", "MB", *both("memory", 1e-6)),
    ]


def number(value: float | None) -> str:
    """A value in three digits or so."""
    if value is None:
        return "-"
    if value == int(value) or value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(ratio: float | None) -> str:
    """A ratio in words; a dash where there is none."""
    return "-" if ratio is None else f"{ratio:.2f}x"


_HEAD = ("what", "ours/peer", "ours/floor", "target", "reached", "unit", "ours", "peer", "floor")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.title,
        times(row.of_peer),
        times(row.of_floor),
        row.targets,
        row.reached,
        row.unit,
        number(row.ours),
        number(row.peer),
        number(row.floor),
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
    """The table for a page, with what each floor is below it."""
    lines = [_HEAD, tuple("---" for _ in _HEAD), *map(_cells, table)]
    notes = [f"Floor of *{row.title}*: {row.floor_is}." for row in table if row.floor_is]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", *notes, ""])


def misses(table: Sequence[Row]) -> list[str]:
    """Every target that was not reached, in words."""
    return [words for row in table for words in row.missed()]
