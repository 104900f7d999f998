import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.errors import InvalidRequest, PolicyViolation
from gateway_provisioners.model.request.launch_request import (
    MAX_ENVIRONMENT_BYTES,
    parse_launch_request,
)

ADMINISTRATORS = {"KERNEL_UID": "1000", "KERNEL_NAMESPACE": "kernels"}


def parse(**environment):
    return parse_launch_request(
        environment, admin_settings=ADMINISTRATORS, kernel_limits={"nvidia.com/gpu": 2}
    )


def test_resources_become_requests_and_limits():
    request = parse(
        KERNEL_CPUS="1.5", KERNEL_MEMORY="4Gi", KERNEL_MEMORY_LIMIT="8Gi", KERNEL_GPUS="2"
    )
    assert request.resources == {
        "requests": {"cpu": "1.5", "memory": "4Gi"},
        "limits": {"memory": "8Gi", "nvidia.com/gpu": "2"},
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KERNEL_CPUS", "two"),
        ("KERNEL_CPUS", "-1"),
        ("KERNEL_CPUS", "1\n"),
        ("KERNEL_CPUS", "1e"),
        ("KERNEL_MEMORY", "4GB"),
        ("KERNEL_MEMORY", '4Gi"\nhostPID: true'),
        ("KERNEL_GPUS", "0.5"),
        ("KERNEL_LAUNCH_TIMEOUT", "0"),
        ("KERNEL_LAUNCH_TIMEOUT", "soon"),
        ("KERNEL_LAUNCH_TIMEOUT", "99999"),
        ("KERNEL_ORPHAN_TIMEOUT", "9"),
        ("KERNEL_ORPHAN_TIMEOUT", "soon"),
        ("KERNEL_SPARK_CONTEXT_INIT_MODE", "later"),
        ("KERNEL_MAILBOX_BYTES", "-1"),
        ("KERNEL_MAILBOX_BYTES", "8Mi"),
        ("KERNEL_MAILBOX_BYTES", "1\n"),
        ("KERNEL_MAILBOX_BYTES", "٣"),
        ("KERNEL_MAILBOX_BYTES", "12345678901"),
        ("KERNEL_MAILBOX_BYTES", "9" * 100_000),
        ("KERNEL_EXTRA", "a\0b"),
        ("KERNEL_EXTRA", "\ud800"),
        ("BAD NAME", "x"),
        ("1X", "x"),
        ("", "x"),
    ],
)
def test_malformed_values_are_refused_by_name(name, value):
    with pytest.raises(InvalidRequest, match=name or "''"):
        parse(**{name: value})


@pytest.mark.parametrize("value", ["", "0", "8388608", "9999999999"])
def test_the_mailbox_size_is_passed_to_the_launcher(value):
    assert parse(KERNEL_MAILBOX_BYTES=value).environment == {"KERNEL_MAILBOX_BYTES": value}


def test_a_client_cannot_offer_the_gateways_features():
    assert parse(KERNEL_GATEWAY_FEATURES="mailbox").environment == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KERNEL_NAMESPACE", "kube-system"),
        ("KERNEL_SERVICE_ACCOUNT_NAME", "admin\nhostPID: true"),
        ("KERNEL_UID", "0"),
        ("KERNEL_GID", "0"),
        ("KERNEL_POD_NAME", "mine"),
    ],
)
def test_clients_cannot_change_settings_of_the_administrator(name, value):
    with pytest.raises(PolicyViolation, match=name) as refusal:
        parse(**{name: value})
    assert f"{name}={value!r} is not allowed" in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_client_may_repeat_the_values_in_force():
    assert parse(KERNEL_UID="1000", KERNEL_NAMESPACE="kernels").environment == {}


def test_other_variables_are_passed_on_and_hidden():
    request = parse(API_TOKEN="s3cret-value", KERNEL_TEAM="blue", KERNEL_USERNAME="alice")
    assert request.environment == {"API_TOKEN": "s3cret-value", "KERNEL_TEAM": "blue"}
    assert request.username == "alice"
    assert "s3cret-value" not in repr(request)


def test_too_large_an_environment_is_refused_without_quoting_it():
    with pytest.raises(InvalidRequest) as refusal:
        parse(BIG="x" * (MAX_ENVIRONMENT_BYTES + 1))
    assert "xxx" not in str(refusal.value)


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=5))
def test_any_environment_parses_or_is_refused(environment):
    try:
        request = parse_launch_request(environment, admin_settings=ADMINISTRATORS)
    except (InvalidRequest, PolicyViolation):
        return
    assert set(request.environment) <= set(environment)
