"""A kernel's usage: what a launcher reports may be anything."""

import json

import pytest

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.model.usage import Usage

REPORTED = {"memory": 2**30, "memory_limit": 2**31, "cpu": 12.5, "cpu_limit": 1.5}


def test_a_report_becomes_the_same_json():
    usage = Usage.from_json({**REPORTED, "a_later_field": []})
    assert json.loads(json.dumps(usage.to_json())) == REPORTED
    assert usage.memory_share == 0.5


@pytest.mark.parametrize("name", REPORTED)
def test_what_is_unknown_or_without_a_limit_is_null(name):
    usage = Usage.from_json({**REPORTED, name: None})
    assert usage.to_json() == {**REPORTED, name: None}
    assert usage == Usage.from_json({key: REPORTED[key] for key in REPORTED if key != name})
    assert usage.memory_share == (0 if name.startswith("memory") else 0.5)


def test_a_limit_of_nothing_is_never_reached():
    assert Usage.from_json({"memory": 1, "memory_limit": 0}).memory_share == 0


@pytest.mark.parametrize("name", REPORTED)
@pytest.mark.parametrize(
    "value",
    ["-1", "-0.5", "NaN", "Infinity", "1e400", "1" + "0" * 3000, "true", '"7"', "[]", "{}"],
)
def test_a_malformed_number_is_refused_by_name(name, value):
    text = json.dumps(REPORTED | {name: "here"}).replace('"here"', value)
    with pytest.raises(ProtocolError, match=f"the usage's {name} is malformed"):
        Usage.from_json(json.loads(text))


@pytest.mark.parametrize("value", [None, [], "", 1, [REPORTED]])
def test_usage_that_is_not_an_object_is_refused(value):
    with pytest.raises(ProtocolError, match="not a JSON object"):
        Usage.from_json(value)
