"""Writes the table of values in the chart's README from the comments of values.yaml.

A value's description is the comment right above it that starts with `# --`. A comment without the
dashes explains a group and stays in values.yaml.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "gateway-provisioners"
BEGIN = "<!-- values: made by ci/update/chart_readme.py from values.yaml -->"
END = "<!-- end of values -->"


@dataclass(frozen=True)
class Value:
    """One row: a value's dotted path, its default, and what its comment says ("" for none)."""

    path: str
    default: Any
    description: str


def documented_values(text: str) -> Iterator[Value]:
    """Yield every value of a values.yaml: each scalar and list, and objects that have a comment."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if isinstance(root, yaml.MappingNode):
        yield from _values("", root, text.splitlines())


def _values(prefix: str, node: yaml.MappingNode, lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        path = prefix + key.value
        description = _description(lines, key.start_mark.line)
        if isinstance(value, yaml.MappingNode) and value.value and not description:
            yield from _values(f"{path}.", value, lines)
        else:
            default = yaml.SafeLoader("").construct_object(value, deep=True)
            yield Value(path, default, description)


def _description(lines: list[str], key_line: int) -> str:
    start = key_line
    while start > 0 and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    text = " ".join(line.strip().removeprefix("#").strip() for line in lines[start:key_line])
    _, _, description = text.partition("-- ")
    return description


def readme(template: str, values: str) -> str:
    """Return the README with the table between its marks made anew."""
    rows = ["| Value | Default | What it is |", "|---|---|---|"]
    for value in documented_values(values):
        description = value.description.replace("|", "\\|")
        rows.append(f"| `{value.path}` | `{json.dumps(value.default)}` | {description} |")
    before, _, rest = template.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, *rows, END + after])


def main() -> None:
    """Write the README, or with --check fail when it is not what would be written."""
    path = CHART / "README.md"
    old = path.read_text()
    new = readme(old, (CHART / "values.yaml").read_text())
    if "--check" not in sys.argv[1:]:
        path.write_text(new)
    elif new != old:
        sys.exit(f"{path.name} of the chart is out of date: run ci/update/chart_readme.py")


if __name__ == "__main__":
    main()
