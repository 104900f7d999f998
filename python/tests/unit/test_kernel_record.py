"""The record of a kernel that a gateway stores for another one, perhaps of another release."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_records import SECRETS, kernel_record

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.model.kernel_record import VERSION, KernelRecord, NewerRecord
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.model.recovery import StoredKernel

VALUE = json.loads(json.dumps(kernel_record().to_json()))

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=10,
)


def test_what_is_written_is_read():
    assert KernelRecord.from_json(VALUE) == kernel_record()


def test_the_form_of_version_1():
    """Gateways of other releases read it: fields may be added, and none may change."""
    assert VALUE["version"] == VERSION == 1
    assert {name: type(value) for name, value in VALUE.items()} == {
        "version": int,
        "kernel_id": str,
        "kernel_name": str,
        "kernel_spec": dict,
        "environment": dict,
        "attempt": int,
        "launch_key": str,
        "connection_info": str,
        "ownership": dict,
    }
    assert json.loads(VALUE["connection_info"])["shell_port"] == 40001


def test_a_record_from_before_owners_is_the_administrators():
    before = {name: value for name, value in VALUE.items() if name != "ownership"}
    assert KernelRecord.from_json(before).ownership == Ownership()


def test_a_record_from_before_features_is_read():
    connection = json.loads(VALUE["connection_info"])
    del connection["features"]
    record = KernelRecord.from_json({**VALUE, "connection_info": json.dumps(connection)})
    assert record.connection_info.mailbox_port == 40007
    assert record.connection_info.features == ()


def test_unknown_fields_are_ignored():
    assert KernelRecord.from_json({**VALUE, "unknown": [1, {}]}) == kernel_record()


@pytest.mark.parametrize(
    "changes", [{}, {"kernel_id": None}, {"connection_info": {}, "attempt": "x"}]
)
def test_a_newer_record_is_not_read(changes):
    with pytest.raises(NewerRecord, match="upgrade this gateway, or shut") as error:
        KernelRecord.from_json({**VALUE, "version": VERSION + 1, **changes})
    assert f"version {VERSION + 1}" in str(error.value)
    assert f"up to {VERSION}" in str(error.value)
    assert error.value.kernel_id == changes.get("kernel_id", "k") or not error.value.kernel_id


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("version", value) for value in (None, "1", 1.0, True, 0, -1, [1])),
        *(
            (name, value)
            for name in ("kernel_id", "kernel_name", "launch_key")
            for value in (None, "", 5)
        ),
        *(("kernel_spec", value) for value in (None, [], "x")),
        *(("environment", value) for value in (None, [], {"A": 1}, {"A": None})),
        *(("attempt", value) for value in (None, 0, "1", True)),
        *(("connection_info", value) for value in (None, {}, 5)),
        *(("ownership", value) for value in (None, {}, "alice", {"owner": None})),
    ],
)
def test_a_malformed_field_is_named_and_not_quoted(name, wrong):
    with pytest.raises(ProtocolError, match=name) as error:
        KernelRecord.from_json({**VALUE, name: wrong})
    assert not any(secret in str(error.value) for secret in SECRETS)


def test_reprs_show_no_secrets():
    for value in (kernel_record(), StoredKernel(kernel_record())):
        assert "k" in repr(value)
        assert not any(secret in repr(value) for secret in SECRETS)


@given(json_values | st.dictionaries(st.sampled_from(sorted(VALUE)), json_values))
def test_hostile_records(value):
    changed = {**VALUE, **value} if isinstance(value, dict) else value
    for record in (value, changed):
        for read in (KernelRecord.from_json, lambda each: StoredKernel.from_json({"record": each})):
            try:
                found = read(record)
            except ProtocolError as error:
                found = str(error)
            if isinstance(found, str):
                assert not any(secret in found for secret in SECRETS)
            else:
                assert type(found).from_json(json.loads(json.dumps(found.to_json()))) == found


@given(json_values, json_values)
def test_hostile_stored_kernels(value, record):
    fields = {"record": record, "restarting": value, "started": value, "last_activity": value}
    for each in (value, fields, {**fields, "record": VALUE}):
        try:
            stored = StoredKernel.from_json(each)
        except ProtocolError:
            continue
        assert stored.record == kernel_record()
