"""Advice to the user of a kernel that needs more memory than its limit: pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway_provisioners.model.quoting import quoted
from gateway_provisioners.model.request.quantity import amount

MEMORY_LIMIT = "KERNEL_MEMORY_LIMIT"
_MOST_PROFILES = 3


@dataclass(frozen=True)
class Profile:
    """Another kernelspec of the same kernel, which its user may start.

    Attributes:
        display_name: its name, as clients show it.
        memory_limit: a quantity; "" for a kernel without a limit.
    """

    display_name: str
    memory_limit: str


def memory_advice(
    *, own_limit: str, requested: str, maximum: str, profiles: Iterable[Profile], administrator: str
) -> str:
    """Return a sentence on how to get more memory: what the user may choose, else whom to ask.

    Args:
        own_limit: the limit in the kernelspec; "" if it has none.
        requested: the limit that the client asked for; "" for the kernel's own.
        maximum: the most that clients may ask for (max_memory); "" for the kernel's own limit, if any.
        profiles: other kernelspecs of the kernel.
        administrator: whom to ask, in words.

    Raises:
        ConfigurationError: one of the limits cannot be read.
    """
    limit = requested or own_limit
    choices = []
    if larger := _larger_profiles(limit, profiles):
        names = " or ".join(
            f"{quoted(each.display_name)} ({each.memory_limit or 'no memory limit'})"
            for each in larger[:_MOST_PROFILES]
        )
        # The variable would give every profile the same limit.
        choices.append(f"start {names}" + (f" without {MEMORY_LIMIT}" if requested else ""))
    most = maximum or own_limit
    if not amount(most or "0"):
        choices.append(f"set {MEMORY_LIMIT}")
    elif amount(most) > amount(limit or "0"):
        choices.append(f"set {MEMORY_LIMIT} to at most {most}")
    return f"For more memory, {', or '.join(choices) or f'ask {administrator}'}."


def _larger_profiles(limit: str, profiles: Iterable[Profile]) -> list[Profile]:
    """Return the profiles with more memory, the next larger one first and those without a limit last."""
    sizes = [(amount(each.memory_limit or "0"), each) for each in profiles]
    own = amount(limit or "0")
    if not own:
        return []
    larger = [(not size, size, each) for size, each in sizes if not size or size > own]
    return [each for *_, each in sorted(larger, key=lambda found: found[:2])]
