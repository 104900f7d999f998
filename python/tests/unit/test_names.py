import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.model.names import MAX_LABEL, pod_name, slug

KERNEL_ID = "0f2f4c7e-6f9c-4f0e-8a55-1f6c4a5e0b11"
LEGAL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@pytest.mark.parametrize(
    "username",
    [
        "",
        "alice",
        "Alice",
        "a" * 63,
        "a" * 64,
        "a" * 65,
        "-",
        "--a--",
        "李雷",
        "a_b",
        "a.b@c",
        "x\0y",
        "{{ 7*7 }}",
    ],
)
def test_pod_names_are_legal_whatever_the_username(username):
    name = pod_name(username, KERNEL_ID, 1)
    assert LEGAL.fullmatch(name), name
    assert KERNEL_ID in name


@given(st.text(), st.text(), st.integers(1, 10**6))
def test_any_input_makes_a_legal_pod_name(username, kernel_id, attempt):
    assert LEGAL.fullmatch(pod_name(username, kernel_id, attempt))


def test_plain_names_stay_readable():
    assert pod_name("alice", KERNEL_ID, 2) == f"alice-{KERNEL_ID}-2"


@given(st.text(max_size=80), st.text(max_size=80))
def test_users_whose_names_differ_do_not_share_a_slug(one, other):
    if one != other:
        assert slug(one, max_length=MAX_LABEL) != slug(other, max_length=MAX_LABEL)


def test_each_attempt_has_a_name_of_its_own():
    assert pod_name("alice", KERNEL_ID, 1) != pod_name("alice", KERNEL_ID, 2)
