"""The number of kernels of one user that start at the same time."""

import pytest

from gateway_provisioners.gateway.kernels.start_limits import StartLimits, TooManyStarts
from gateway_provisioners.model.ownership import Ownership

ALICE, BOB, NOBODY = Ownership("alice", groups=("a",)), Ownership("bob"), Ownership()


@pytest.mark.parametrize(
    ("most", "new", "starting"),
    [
        (2, ALICE, [ALICE, BOB, BOB, NOBODY]),
        (2, NOBODY, [NOBODY] * 100),
        (0, ALICE, [ALICE] * 100),
    ],
)
def test_starts_within_the_limit(most, new, starting):
    StartLimits(max_starts_per_user=most).check(new, starting)


def test_a_user_who_starts_too_many_has_to_wait():
    limits = StartLimits()
    assert limits.max_starts_per_user == 10
    limits.check(ALICE, [ALICE] * 9)
    with pytest.raises(TooManyStarts, match=r"^10 of your kernels are being started") as refused:
        limits.check(Ownership("alice"), [ALICE] * 10)
    assert refused.value.http_status == 429
