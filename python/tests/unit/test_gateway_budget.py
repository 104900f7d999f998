"""Budgets of bytes that connections share."""

import asyncio

import pytest

from gateway_provisioners.gateway.process.budget import Budget
from timeouts import within_timeout


def ignore():
    pass


async def test_sum_of_all_shares_stays_within_the_budget():
    budget = Budget(10)
    first, second = budget.share(ignore), budget.share(ignore)
    assert first.try_take(6)
    assert not second.try_take(5)
    assert second.try_take(4)
    assert budget.held == 10


async def test_bytes_are_granted_in_the_order_of_the_requests():
    budget = Budget(10)
    holder, large, small = (budget.share(ignore) for _ in range(3))
    assert holder.try_take(8)
    large_granted, small_granted = large.take(9), small.take(1)
    assert not holder.try_take(1), "others wait"
    assert not small_granted.done(), "a small request does not overtake a large one"
    holder.release(8)
    await within_timeout(large_granted)
    await within_timeout(small_granted)
    assert (holder.held, large.held, small.held) == (0, 9, 1)


async def test_withdrawn_request_makes_room_for_the_next():
    budget = Budget(10)
    holder, large, small = (budget.share(ignore) for _ in range(3))
    assert holder.try_take(8)
    withdrawn, granted = large.take(9), small.take(2)
    withdrawn.cancel()
    await within_timeout(granted)
    assert large.held == 0


async def test_closed_share_gives_back_what_it_holds_and_waits_for():
    budget = Budget(10)
    holder, other = budget.share(ignore), budget.share(ignore)
    assert holder.try_take(8)
    waiting, granted = holder.take(3), other.take(10)
    holder.close()
    await within_timeout(granted)
    assert (budget.held, waiting.cancelled()) == (10, True)


async def test_request_beyond_the_whole_budget_is_an_error():
    with pytest.raises(ValueError, match="11 bytes are more than the budget of 10"):
        Budget(10).share(ignore).take(11)


async def test_holder_that_does_not_move_has_to_give_up_first():
    budget = Budget(10, pressure_seconds=0.01)
    asked = asyncio.Event()
    stuck = budget.share(lambda: (stuck.close(), asked.set()))
    assert stuck.try_take(3)
    stuck.last_progress -= 60
    active = budget.share(lambda: pytest.fail("its bytes move"))
    assert active.try_take(7)
    active.last_progress += 60
    await within_timeout(budget.share(ignore).take(3))
    assert asked.is_set()


async def test_largest_holder_has_to_give_up_if_all_move():
    budget = Budget(10, pressure_seconds=0.01)
    small = budget.share(lambda: pytest.fail("it holds less"))
    large = budget.share(lambda: large.close())  # noqa: PLW0108 - not yet defined
    assert small.try_take(3)
    assert large.try_take(7)
    for share in (small, large):
        share.last_progress += 60
    await within_timeout(budget.share(ignore).take(3))
    assert (small.held, large.held) == (3, 0)
