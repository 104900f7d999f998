"""The body of POST /api/kernels: any JSON at all gives a request or one of our refusals."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.errors import GatewayProvisionersError, InvalidRequest
from gateway_provisioners.gateway.http.start_request import StartRequest, parse_start_request

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
nearly_right = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("local") | anything,
        "kernel_id": st.uuids().map(str) | anything,
        "path": anything,
        "env": st.dictionaries(st.sampled_from(["KERNEL_A", "EXTRA", "PATH", "a-b"]), anything)
        | anything,
    },
)


def parse(body):
    return parse_start_request(
        body,
        known_names=lambda: {"local"},
        default_name="local",
        forced_name="",
        client_variables={"EXTRA"},
    )


def parse_or_refusal(body):
    try:
        return parse(body)
    except GatewayProvisionersError as refusal:
        return refusal


@given(anything | nearly_right)
def test_every_json_body_is_accepted_or_refused(model):
    outcome = parse_or_refusal(json.dumps(model).encode())
    if isinstance(outcome, StartRequest):
        assert outcome.name == "local"
        for name, value in outcome.environment.items():
            assert name.startswith("KERNEL_") or name == "EXTRA"
            assert isinstance(value, str)
    else:
        assert outcome.http_status in {400, 403, 404}


@given(st.binary())
def test_every_byte_string_is_accepted_or_refused(body):
    outcome = parse_or_refusal(body)
    assert isinstance(outcome, StartRequest) or outcome.http_status in {400, 404}


@pytest.mark.parametrize("body", [b"", b"  ", b"null", b"{}"])
def test_an_empty_body_asks_for_the_default_kernel(body):
    assert parse(body) == StartRequest(name="local")


def test_a_body_nested_too_deeply_is_refused():
    with pytest.raises(InvalidRequest):
        parse(b"[" * 100_000)


def test_more_variables_than_any_kernel_needs_are_refused():
    variables = {f"KERNEL_{n}": "" for n in range(2001)}
    with pytest.raises(InvalidRequest, match="2000"):
        parse(json.dumps({"env": variables}).encode())


def test_unknown_fields_are_not_parsed():
    body = b'{"more":[' + b"[]," * 100_000 + b"[]]}"
    tracemalloc.start()
    try:
        parse(body)
        assert tracemalloc.get_traced_memory()[1] < len(body)
    finally:
        tracemalloc.stop()


def test_values_of_variables_are_not_revealed():
    request = parse(json.dumps({"env": {"KERNEL_PASSWORD": "s3cret"}}).encode())
    assert "s3cret" not in repr(request)
    with pytest.raises(InvalidRequest) as refusal:
        parse(json.dumps({"env": {"KERNEL_PASSWORD": "s3cret\0"}}).encode())
    assert "s3cret" not in str(refusal.value)
