"""The rows as a picture: a small bar chart each, its title the ratio. A row of zeros has none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from ci.bench.results import Row, number, times

OURS, PEER, BASELINE, TARGET = "#1f6f8b", "#c0c4c8", "#e8eaec", "#b5442e"
COLUMNS = 2


def _panel(axes: Axes, row: Row) -> None:
    bars = [("ours", row.ours, OURS)]
    if row.peer is not None:
        bars.append(("peer", row.peer, PEER))
    if row.baseline is not None:
        bars.append(("baseline", row.baseline, BASELINE))
    names = [name for name, _, _ in bars]
    drawn = axes.barh(names, [value for _, value, _ in bars], color=[color for *_, color in bars])
    for label in axes.bar_label(
        drawn, [number(value) for _, value, _ in bars], padding=4, fontsize=9
    ):
        # The target's line may pass behind it.
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    axes.invert_yaxis()
    axes.set_xlim(0, max(value for _, value, _ in bars) * 1.18 or 1)
    limits = []
    if row.target_of_peer is not None and row.peer is not None:
        limits.append(row.target_of_peer * row.peer)
    if row.target_of_baseline is not None and row.baseline is not None:
        limits.append(row.target_of_baseline * row.baseline)
    if limits:
        axes.axvline(min(limits), color=TARGET, linewidth=1.4, linestyle="--", zorder=2)
    unit = f" [{row.unit}]" if row.unit else ""
    ratios = ((row.of_peer, "the peer"), (row.of_baseline, "the baseline"))
    headline = next(
        (f"{times(ratio)} {other}: " for ratio, other in ratios if ratio is not None), ""
    )
    peer = f" (peer: {row.peer_is})" if row.peer_is else ""
    axes.set_title(f"{headline}{row.title}{unit}{peer}", fontsize=10, loc="left")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(left=False, bottom=False, labelbottom=False, labelsize=9)


def draw(table: Sequence[Row], caption: str, files: Sequence[Path]) -> None:
    """Draw the table into files, each of the kind that its name ends on."""
    drawn = [row for row in table if row.ours or row.peer]
    lines = -(-len(drawn) // COLUMNS)
    figure, grid = plt.subplots(lines, COLUMNS, figsize=(11, 1.65 * lines + 0.9), squeeze=False)
    for axes, row in zip(grid.flat, drawn, strict=False):
        _panel(axes, row)
    for axes in grid.flat[len(drawn) :]:
        axes.set_visible(False)
    figure.suptitle(
        "This product beside gateway-provisioners 0.5.0: less is better", x=0.02, ha="left"
    )
    figure.text(0.02, 0.012, f"{caption}  Dashed: the target.", fontsize=8, color="#555555")
    figure.tight_layout(rect=(0, 0.03, 1, 0.99))
    for file in files:
        figure.savefig(file, dpi=130)
    plt.close(figure)
