"""The quotas of kernels, of users and of groups."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.errors import PolicyViolation, TooManyKernels, TooManyResources
from gateway_provisioners.model.quota import CPUS, GPUS, KERNELS, MEMORY, KernelQuota, KernelUsage

GI = 2**30
CPU_QUOTA = KernelQuota(each_user={CPUS: Fraction(8)})


def kernel(kernel_id, username="alice", groups=(), *, owner=None, name="python3", **amounts):
    return KernelUsage(
        kernel_id=kernel_id,
        kernel_name=name,
        username=username,
        owner=username if owner is None else owner,
        groups=frozenset(groups),
        amounts={resource: Fraction(amount) for resource, amount in amounts.items()},
    )


def refusal(quota, *others, new=None, **options):
    return str(quota.refusal(others, new or kernel("new"), **options) or "")


def test_without_quota_there_is_always_room():
    assert not KernelQuota()
    assert refusal(KernelQuota(), *(kernel(str(number)) for number in range(100))) == ""


@pytest.mark.parametrize(
    "quota",
    [
        KernelQuota(1),
        KernelQuota(most_per_user=1),
        KernelQuota(each_user={GPUS: Fraction(0)}),
        KernelQuota(users={"alice": {}}),
        KernelQuota(groups={"team": {}}),
    ],
)
def test_every_part_is_a_quota(quota):
    assert quota


def test_all_users_together():
    quota = KernelQuota(most=2)
    assert refusal(quota, kernel("a")) == ""
    assert "at most 2 and has that many" in refusal(quota, kernel("a"), kernel("b", "bob"))


def test_kernels_of_each_user():
    quota = KernelQuota(most_per_user=2)
    bobs = [kernel("c", "bob"), kernel("d", "bob")]
    assert refusal(quota, kernel("a"), *bobs) == ""
    error = quota.refusal([kernel("a"), kernel("b", name="r"), *bobs], kernel("new"))
    assert isinstance(error, TooManyKernels)
    assert str(error) == (
        "Too many kernels: user 'alice' may run at most 2 kernels at once and has "
        "2. Shut down 1 kernel of yours. "
        "Yours: 'python3' (a), 'r' (b)."
    )


def test_a_kernel_that_is_restarted_does_not_count_itself():
    quota = KernelQuota(most=1, most_per_user=1, each_user={CPUS: Fraction(2)})
    assert refusal(quota, kernel("own", cpus=2), new=kernel("own", cpus=2)) == ""


def test_both_pods_of_a_restart_count_once():
    quota = KernelQuota(most=2, each_user={CPUS: Fraction(8)})
    assert refusal(quota, *[kernel("a", cpus=4)] * 2, new=kernel("b", cpus=4)) == ""


@pytest.mark.parametrize(
    ("quota", "others", "new", "message"),
    [
        pytest.param(
            CPU_QUOTA,
            [kernel("a", cpus=4), kernel("b", name="r", cpus="1.5")],
            kernel("new", cpus=4),
            "Too many CPUs: user 'alice' may use at most 8 CPUs at once; 2 kernels "
            "use 5.5 CPUs, and this one needs 4 CPUs. "
            "Shut down kernels of yours that use 1.5 CPUs or more, or ask for at most 2.5 CPUs with "
            "KERNEL_CPUS_LIMIT. Yours: 'python3' (a): 4 CPUs, 'r' (b): 1.5 CPUs.",
            id="room for less",
        ),
        pytest.param(
            KernelQuota(each_user={MEMORY: Fraction(8 * GI)}),
            [kernel("a", memory=8 * GI)],
            kernel("new", memory=GI // 2),
            "Too much memory: user 'alice' may use at most 8Gi of memory at once; 1 "
            "kernel uses 8Gi of memory, and this one "
            "needs 512Mi of memory. Shut down kernels of yours that use 512Mi of memory or more. "
            "Yours: 'python3' (a): 8Gi of memory.",
            id="no room at all",
        ),
        pytest.param(
            CPU_QUOTA,
            [kernel("a", cpus=1)],
            kernel("new", cpus=9),
            "Too many CPUs: user 'alice' may use at most 8 CPUs at once, and this one "
            "needs 9 CPUs. Ask for less with "
            "KERNEL_CPUS_LIMIT, or ask the administrator for a larger quota.",
            id="more than the quota",
        ),
        pytest.param(
            KernelQuota(each_user={GPUS: Fraction(0)}),
            [],
            kernel("new", gpus=1),
            "Too many GPUs: user 'alice' may use at most 0 GPUs at once, and this one "
            "needs 1 GPU. Ask the administrator "
            "for a larger quota.",
            id="none at all",
        ),
        pytest.param(
            KernelQuota(users={"alice": {KERNELS: Fraction(0)}}),
            [],
            kernel("new"),
            "Too many kernels: user 'alice' may run at most 0 kernels at once. Ask "
            "the administrator for a larger quota.",
            id="no kernels",
        ),
        pytest.param(
            KernelQuota(most_per_user=1),
            [kernel("a"), kernel("b"), kernel("c")],
            kernel("new"),
            "Too many kernels: user 'alice' may run at most 1 kernel at once and has "
            "3. Shut down 3 kernels of yours. "
            "Yours: 'python3' (a), 'python3' (b), 'python3' (c).",
            id="lowered since they were started",
        ),
    ],
)
def test_a_refusal_says_what_is_used_and_what_would_free_it(quota, others, new, message):
    assert refusal(quota, *others, new=new) == message


def test_amounts_that_just_fit_are_not_refused():
    assert refusal(CPU_QUOTA, kernel("a", cpus="7.9"), new=kernel("new", cpus="0.1")) == ""
    error = CPU_QUOTA.refusal([kernel("a", cpus="7.9")], kernel("new", cpus="0.101"))
    assert isinstance(error, TooManyResources)


def test_a_kernel_without_gpus_starts_when_the_quota_of_gpus_is_exceeded():
    quota = KernelQuota(each_user={GPUS: Fraction(1)})
    assert refusal(quota, kernel("a", gpus=2)) == ""


@pytest.mark.parametrize(
    ("overridden", "room"),
    [({}, False), ({CPUS: Fraction(12)}, True), ({CPUS: None}, True), ({KERNELS: None}, False)],
)
def test_a_named_users_amounts_come_before_those_of_each(overridden, room):
    quota = KernelQuota(each_user={CPUS: Fraction(8)}, users={"alice": overridden})
    got = refusal(quota, kernel("a", cpus=6), new=kernel("new", cpus=6))
    assert (got == "") is room
    assert refusal(quota, kernel("a", "bob", cpus=6), new=kernel("new", "bob", cpus=6))


def test_a_named_user_may_run_more_kernels_than_each():
    quota = KernelQuota(most_per_user=1, users={"alice": {KERNELS: Fraction(2)}})
    assert refusal(quota, kernel("a")) == ""
    assert refusal(quota, kernel("a"), kernel("b"))
    assert refusal(quota, kernel("a", "bob"), new=kernel("new", "bob"))


@pytest.mark.parametrize(
    ("resource", "variable"), [(CPUS, "KERNEL_CPUS_LIMIT"), (MEMORY, "KERNEL_MEMORY_LIMIT")]
)
def test_a_kernel_must_state_what_a_quota_is_for(resource, variable):
    for quota in (
        KernelQuota(each_user={resource: Fraction(GI)}),
        KernelQuota(groups={"team": {resource: Fraction(GI)}}),
    ):
        error = quota.refusal([], kernel("new", groups=["team"]))
        assert type(error) is PolicyViolation
        assert f"Set {variable}, or ask the administrator" in str(error)
        # Before the pod exists, a LimitRange may still add it.
        assert quota.refusal([], kernel("new", groups=["team"]), is_complete=False) is None
    unlimited = KernelQuota(each_user={resource: Fraction(1)}, users={"alice": {resource: None}})
    assert refusal(unlimited) == ""


TEAM = KernelQuota(groups={"team": {GPUS: Fraction(4), KERNELS: Fraction(9)}})


def test_a_groups_quota_is_for_all_members_together():
    others = [
        kernel("secret-1", "bob", ["team"], gpus=2),
        kernel("secret-2", "carol", ["team", "other"], gpus=1),
        kernel("secret-3", "dave", ["other"], gpus=8),
    ]
    assert refusal(TEAM, *others, new=kernel("new", "alice", ["team"], gpus=1)) == ""
    assert refusal(TEAM, *others, new=kernel("new", "alice", ["other"], gpus=4)) == ""
    assert refusal(TEAM, *others, new=kernel("new", "alice", ["team"], gpus=2)) == (
        "Too many GPUs: group 'team' may use at most 4 GPUs at once; 2 kernels "
        "use 3 GPUs, and this one needs 2 GPUs. Wait "
        "until others have shut down theirs, or ask for at most 1 GPU with KERNEL_GPUS."
    )


def test_members_of_a_group_see_their_own_kernels_only():
    others = [
        kernel("secret", "bob", ["team"], name="hidden", gpus=3),
        kernel("own", groups=["team"], gpus=1),
    ]
    enough = refusal(TEAM, *others, new=kernel("new", groups=["team"], gpus=1))
    assert "Shut down kernels of yours that use 1 GPU or more." in enough
    more = refusal(TEAM, *others, new=kernel("new", groups=["team"], gpus=2))
    assert "Shut down your kernels and wait until others have shut down theirs." in more
    for message in (enough, more):
        assert message.endswith("Yours: 'python3' (own): 1 GPU.")
        assert "secret" not in message
        assert "hidden" not in message
        assert "bob" not in message


@pytest.mark.attack(15)
def test_kernels_that_an_administrator_started_for_a_user_are_not_shown():
    quota = KernelQuota(most_per_user=2)
    others = [kernel("secret", owner="", name="hidden"), kernel("own")]
    message = refusal(quota, *others)
    assert "has 2. Shut down 1 kernel of yours. Yours: 'python3' (own)." in message
    assert "secret" not in message


@pytest.mark.attack(15)
def test_a_client_that_only_claims_a_name_learns_no_ids():
    quota = KernelQuota(most_per_user=1)
    message = refusal(quota, kernel("secret", owner=""), new=kernel("new", owner=""))
    assert message.endswith("Yours: 'python3'.")


def test_a_message_names_ten_kernels_at_most():
    others = [kernel(f"id-{number:03}", cpus=Fraction(number, 1000)) for number in range(1000)]
    message = refusal(CPU_QUOTA, *others, new=kernel("new", cpus=1))
    assert re.findall(r"\((id-\d+)\)", message) == [
        f"id-{number}" for number in range(999, 989, -1)
    ]
    assert message.endswith(" and 989 more.")
    assert len(message) < 1000


AMOUNTS = st.fractions(min_value=0, max_value=10).map(lambda number: number.limit_denominator(1000))


@given(limit=AMOUNTS, used=st.lists(AMOUNTS, max_size=20), needed=AMOUNTS)
def test_no_start_is_let_through_that_exceeds_the_quota(limit, used, needed):
    quota = KernelQuota(each_user={CPUS: limit})
    others = [kernel(str(number), cpus=cpus) for number, cpus in enumerate(used)]
    error = quota.refusal(others, kernel("new", cpus=needed))
    assert (error is not None) == bool(needed and sum(used) + needed > limit)
