"""Check what docs/security.md claims: attacks, their tests, findings, values of the chart."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "python/tests"
PAGE = (ROOT / "docs/security.md").read_text()
VALUES = yaml.safe_load((ROOT / "charts/gateway-provisioners/values.yaml").read_text())
ATTACKS = range(1, 21)
FINDINGS = range(1, 29)


def rows(section):
    """Return the cells of each row of a section's table."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")][2:]


def marks_of(function):
    """Yield the numbers of the attacks that a test plays."""
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.attack":
            yield ast.literal_eval(decorator.args[0])


def marked_tests():
    """Return the names of the tests of each attack."""
    found = defaultdict(list)
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for number in marks_of(node):
                    found[number].append(f"{file.relative_to(TESTS)}::{node.name}")
    return found


def listed_tests():
    return {
        int(number): re.findall(r"`([\w/]+\.py::\w+)`", tests)
        for number, _, tests in rows("Attacks that the tests play")
    }


def test_every_attack_is_listed():
    assert list(listed_tests()) == list(ATTACKS)


@pytest.mark.parametrize("number", ATTACKS)
def test_attack_is_listed_with_exactly_its_tests(number):
    marked = marked_tests()[number]
    cell = ", ".join(f"`{test}`" for test in marked) or "none yet"
    assert listed_tests()[number] == marked, f"the tests of attack {number} are: {cell}"


def test_only_attacks_of_the_list_are_marked():
    assert set(marked_tests()) <= set(ATTACKS)


def test_every_finding_is_listed():
    findings = [int(re.match(r"S(\d+) ", cells[0])[1]) for cells in rows("Findings of the review")]
    assert findings == list(FINDINGS)


def test_findings_name_attacks_of_the_list():
    for _, _, closed in rows("Findings of the review"):
        for numbers in re.findall(r"attacks? ([\d to,and]+)", closed):
            assert set(map(int, re.findall(r"\d+", numbers))) <= set(ATTACKS)


@pytest.mark.parametrize("section", ["What to switch on for tenants", "What the defaults give"])
def test_values_of_the_tables_exist(section):
    tops = "|".join(map(re.escape, VALUES))
    named = re.findall(rf"`((?:{tops})(?:\.\w+)*)`", str(rows(section)))
    assert len(named) > 5
    for path in named:
        value = VALUES
        for key in path.split("."):
            assert key in value, path
            value = value[key]
