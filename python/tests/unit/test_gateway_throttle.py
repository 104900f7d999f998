"""Wrong credentials of an address are bounded, and clients that share it go on."""

import contextlib
import itertools

import pytest

from gateway_provisioners.gateway.identity.credential import Credential
from gateway_provisioners.gateway.identity.identity import (
    IdentityUnavailable,
    NotIdentified,
    TooManyAttempts,
)
from gateway_provisioners.gateway.identity.throttle import (
    MOST_ADDRESSES,
    MOST_CHECKS,
    MOST_CREDENTIALS,
    MOST_FAILURES,
    SAME_SECONDS,
    SECONDS_FOR_EACH,
    Throttle,
)

ADDRESS = "192.0.2.1"
GUESSES = (Credential(token=f"guess {number}") for number in itertools.count())
PROXYS = Credential(token="", headers={})


class Clock:
    """A clock that tests set."""

    seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return Throttle(clock)


def reject(throttle, credential=None, ip=ADDRESS):
    """Check a wrong credential, a new one by default; return whether it counted."""
    with (
        pytest.raises(NotIdentified) as rejected,
        throttle.attempt(ip, credential or next(GUESSES)),
    ):
        raise NotIdentified("wrong")
    return rejected.value.is_attempt


def accept(throttle, credential, ip=ADDRESS):
    with throttle.attempt(ip, credential):
        pass


def refusal(throttle, credential=None, ip=ADDRESS):
    """Check that a credential is refused unseen."""
    with pytest.raises(TooManyAttempts) as refused:
        accept(throttle, credential or next(GUESSES), ip)
    return refused.value


def exhaust(throttle, ip=ADDRESS):
    for _ in range(MOST_FAILURES):
        assert reject(throttle, ip=ip)


def test_guesses_are_refused_after_a_number_of_them_then_one_in_a_while(throttle, clock):
    exhaust(throttle)
    assert refusal(throttle).retry_after == SECONDS_FOR_EACH
    clock.seconds += SECONDS_FOR_EACH - 0.01
    assert refusal(throttle).retry_after == 1
    for _ in range(3):
        clock.seconds += SECONDS_FOR_EACH
        assert reject(throttle)
        refusal(throttle)


def test_an_address_that_stops_guessing_may_fail_as_often_as_before(throttle, clock):
    exhaust(throttle)
    clock.seconds += SECONDS_FOR_EACH * MOST_FAILURES
    exhaust(throttle)
    refusal(throttle)


@pytest.mark.parametrize(
    ("attackers", "others"),
    [
        ("192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
    ],
)
def test_other_addresses_are_not_throttled(throttle, attackers, others):
    exhaust(throttle, attackers)
    refusal(throttle, ip=attackers)
    accept(throttle, Credential(token="new"), others)


def test_addresses_of_one_ipv6_network_share_their_attempts(throttle):
    for number in range(MOST_FAILURES):
        reject(throttle, ip=f"2001:db8::{number:x}")
    refusal(throttle, ip="2001:db8::ffff:1")


def test_an_ipv4_address_has_the_same_attempts_however_it_is_written(throttle):
    exhaust(throttle, "::ffff:192.0.2.1")
    refusal(throttle, ip="192.0.2.1")


def test_a_known_credential_is_checked_from_a_throttled_address(throttle):
    known = Credential(token="known")
    accept(throttle, known, "198.51.100.1")
    exhaust(throttle)
    accept(throttle, known)
    accept(throttle, known)
    refusal(throttle, Credential(token="as right, but new"))


def test_a_credential_that_was_revoked_is_not_let_through_twice(throttle):
    known = Credential(token="revoked")
    accept(throttle, known)
    exhaust(throttle)
    reject(throttle, known)
    refusal(throttle, known)


def test_the_same_wrong_credential_counts_once_in_a_while(throttle, clock):
    stale = Credential(token="of a tab that was forgotten")
    assert reject(throttle, stale)
    assert not any(reject(throttle, stale) for _ in range(10 * MOST_FAILURES))
    clock.seconds += SAME_SECONDS
    assert reject(throttle, stale)


def test_the_same_wrong_credential_is_refused_from_a_throttled_address(throttle):
    stale = Credential(token="stale")
    reject(throttle, stale)
    for _ in range(MOST_FAILURES - 1):
        reject(throttle)
    refusal(throttle, stale)


def test_every_failure_counts_of_what_a_proxy_sends_without_a_token(throttle):
    for _ in range(MOST_FAILURES):
        assert reject(throttle, PROXYS)
    refusal(throttle, PROXYS)


def test_a_proxy_that_was_accepted_is_known_by_its_address(throttle):
    accept(throttle, PROXYS)
    exhaust(throttle)
    accept(throttle, PROXYS)
    exhaust(throttle, "192.0.2.2")
    refusal(throttle, PROXYS, "192.0.2.2")


def test_a_service_that_does_not_answer_is_not_a_failure_of_the_client(throttle):
    for _ in range(2 * MOST_FAILURES):
        with pytest.raises(IdentityUnavailable), throttle.attempt(ADDRESS, next(GUESSES)):
            raise IdentityUnavailable("away")
    accept(throttle, next(GUESSES))


def test_guesses_at_the_same_time_are_bounded_and_count_afterwards(throttle, clock):
    with contextlib.ExitStack() as under_way:
        for _ in range(MOST_CHECKS):
            under_way.enter_context(pytest.raises(NotIdentified))
            under_way.enter_context(throttle.attempt(ADDRESS, next(GUESSES)))
            under_way.callback(_fail)
        refusal(throttle)
    clock.seconds += SECONDS_FOR_EACH * (MOST_CHECKS - MOST_FAILURES)
    refusal(throttle)
    clock.seconds += SECONDS_FOR_EACH
    reject(throttle)


def _fail():
    raise NotIdentified("wrong")


def test_what_is_remembered_is_bounded(throttle):
    for number in range(MOST_ADDRESSES + 10):
        reject(throttle, ip=f"2001:db8:{number:x}::1")
    for number in range(MOST_CREDENTIALS + 10):
        accept(throttle, Credential(token=f"right {number}"))
    assert len(throttle._addresses) <= MOST_ADDRESSES
    assert len(throttle._rejected) == MOST_ADDRESSES
    assert len(throttle._accepted) == MOST_CREDENTIALS
