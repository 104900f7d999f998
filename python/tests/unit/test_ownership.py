"""The ownership of a kernel, in a pod's annotations and in a record."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.errors import ProtocolError
from gateway_provisioners.gateway.identity.identity import Identity
from gateway_provisioners.model.ownership import (
    OWNER_ANNOTATION,
    OWNER_GROUPS_ANNOTATION,
    SHARED_GROUPS_ANNOTATION,
    SHARED_USERS_ANNOTATION,
    Access,
    Ownership,
)

SHARED = Ownership(
    owner="alice",
    groups=("analysts",),
    users={"bob": Access.READ, "carol": Access.FULL},
    shared_groups={"team": Access.FULL, "guests": Access.READ},
)
LEVELS = st.sampled_from([Access.READ, Access.FULL])
OWNERSHIPS = st.builds(
    Ownership,
    owner=st.text(),
    groups=st.lists(st.text()).map(tuple),
    users=st.dictionaries(st.text(), LEVELS),
    shared_groups=st.dictionaries(st.text(), LEVELS),
)


@pytest.mark.parametrize(
    ("user", "groups", "access"),
    [
        ("alice", [], Access.OWNER),
        ("bob", [], Access.READ),
        ("carol", [], Access.FULL),
        ("dave", [], Access.NONE),
        ("dave", ["guests"], Access.READ),
        ("dave", ["guests", "team"], Access.FULL),
        ("bob", ["team"], Access.FULL),
        ("Alice", [], Access.NONE),
        ("dave", ["analysts"], Access.NONE),  # the owner's group alone gives nothing
        ("team", [], Access.NONE),
        ("", ["team"], Access.NONE),
    ],
)
def test_access_is_the_highest_that_applies(user, groups, access):
    assert SHARED.access_of(user, groups) == access


def test_a_kernel_without_an_owner_is_the_administrators():
    kernel = Ownership()
    assert kernel.access_of("", ()) == Access.NONE
    assert Identity(name="").access_to(kernel) == Access.NONE
    assert Identity(name="root", is_admin=True).access_to(kernel) == Access.OWNER
    assert Identity(name="", is_admin=True).access_to(SHARED) == Access.OWNER


@given(OWNERSHIPS)
def test_annotations_and_records_keep_all_of_it(ownership):
    assert Ownership.from_annotations(ownership.annotations()) == ownership
    assert Ownership.from_json(json.loads(json.dumps(ownership.to_json()))) == ownership


def test_a_pod_of_an_earlier_release_says_nothing_of_its_owner():
    assert Ownership.from_annotations({"gateway-provisioners/username": "alice"}) is None


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (OWNER_GROUPS_ANNOTATION, "analysts"),
        (OWNER_GROUPS_ANNOTATION, '{"analysts": 1}'),
        (OWNER_GROUPS_ANNOTATION, "[1]"),
        (OWNER_GROUPS_ANNOTATION, "[" * 10_000),
        (SHARED_USERS_ANNOTATION, '["bob"]'),
        (SHARED_USERS_ANNOTATION, '{"bob": "owner"}'),
        (SHARED_USERS_ANNOTATION, '{"bob": ["read"]}'),
        (SHARED_GROUPS_ANNOTATION, '{"team": 3}'),
        (SHARED_GROUPS_ANNOTATION, ""),
    ],
)
def test_malformed_annotations_leave_the_kernel_to_administrators(annotation, value):
    annotations = {**SHARED.annotations(), annotation: value}
    assert annotations[OWNER_ANNOTATION] == "alice"
    assert Ownership.from_annotations(annotations) == Ownership()


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_a_record_is_read_or_refused_as_a_whole(value):
    with contextlib.suppress(ProtocolError):
        assert Ownership.from_json(value).owner == value["owner"]
