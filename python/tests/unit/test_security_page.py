"""Check what docs/security.md claims: attacks, their tests, findings, values of the chart."""

import re
from pathlib import Path

import pytest
import yaml

from ci.update.attacks_page import attack_tests, section

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/security.md").read_text()
VALUES = yaml.safe_load((ROOT / "charts/gateway-provisioners/values.yaml").read_text())
ATTACKS = range(1, 24)
FINDINGS = range(1, 29)


def rows(section):
    """Return the cells of each row of a section's table."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")][2:]


def test_every_attack_is_listed_and_has_tests():
    assert [int(cells[0]) for cells in rows("Attacks that the tests play")] == list(ATTACKS)
    assert set(attack_tests()) == set(ATTACKS)


def test_the_tests_of_attacks_are_listed():
    assert section(attack_tests()) in PAGE


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
