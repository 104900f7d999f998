import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.model.names import MAX_LABEL, pod_name, slug, user_label

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
def test_pod_names_are_legal_for_any_username(username):
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


def test_each_attempt_has_its_own_name():
    assert pod_name("alice", KERNEL_ID, 1) != pod_name("alice", KERNEL_ID, 2)


@pytest.mark.parametrize(
    ("username", "label"),
    [
        ("alice", "alice"),
        ("a", "a"),
        ("jane-doe2", "jane-doe2"),
        ("a" * 63, "a" * 63),
        ("Alice", "alice---3bc51062973c458d5a6f2d8d64a02324"),
        ("jane.doe@example.com", "jane-doe-example-com---86e0b9e5"),
        ("../../etc", "etc---"),
        ("{username}", "username---"),
        ("李雷", "user---"),
        ("", "user---"),
        ("a" * 64, "a" * 28 + "---"),
    ],
)
def test_a_user_has_a_label(username, label):
    assert user_label(username).startswith(label)
    assert LEGAL.fullmatch(user_label(username))


def test_no_user_can_take_the_label_of_another():
    """A user with another user's label as a name gets a different label."""
    taken = user_label("Alice")
    assert user_label(taken) != taken
    assert user_label("alice---x").startswith("alice-x---")
    labels = [user_label(name) for name in ("alice", "Alice", "ALICE", "alice-", "al.ice", "älice")]
    assert len(set(labels)) == len(labels)


@given(st.lists(st.text(max_size=80), unique=True, max_size=20))
def test_labels_are_legal_and_differ_as_their_users_do(usernames):
    labels = [user_label(username) for username in usernames]
    assert all(LEGAL.fullmatch(label) for label in labels)
    labels += [user_label(label) for label in labels if label not in usernames and "---" in label]
    assert len(set(labels)) == len(labels)
