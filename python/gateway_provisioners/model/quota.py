"""The quotas of kernels: how many may run at once, and how much they may use together: pure.

Several gateways start kernels at once, so on Kubernetes a quota is checked when a kernel's pod exists. The
API server reports pods to every watch in the order in which they were made: a gateway that sees its own pod
appear has seen all that came before it, and of two pods that do not both fit, the later one yields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from gateway_provisioners.errors import PolicyViolation, TooManyKernels, TooManyResources
from gateway_provisioners.model.quoting import quoted

KERNELS = "kernels"
CPUS = "cpus"
MEMORY = "memory"
GPUS = "gpus"

# By resource: a number of kernels, CPUs, bytes or GPUs.
Amounts = Mapping[str, Fraction]

_ZERO = Fraction(0)
# A message names at most this many kernels.
_MOST_NAMED = 10
_NOUNS = {KERNELS: "kernel", CPUS: "CPU", GPUS: "GPU"}
_VARIABLES = {CPUS: "KERNEL_CPUS_LIMIT", MEMORY: "KERNEL_MEMORY_LIMIT", GPUS: "KERNEL_GPUS"}
_BYTES = {"Ti": 2**40, "Gi": 2**30, "Mi": 2**20, "Ki": 2**10}


@dataclass(frozen=True)
class KernelUsage:
    """The part of quotas that one kernel takes.

    Attributes:
        username: the user it counts for.
        owner: the owner's name; "" for a kernel of the administrators.
        groups: the owner's groups, for each of which it counts as well.
        amounts: its CPUs, bytes of memory and GPUs; an amount that is not stated is missing.
    """

    kernel_id: str
    kernel_name: str
    username: str
    owner: str = ""
    groups: frozenset[str] = frozenset()
    amounts: Amounts = field(default_factory=dict)

    def amount(self, resource: str) -> Fraction:
        """Return how much of a resource it takes; 0 if it does not state that."""
        return Fraction(1) if resource == KERNELS else self.amounts.get(resource, _ZERO)

    def states(self, resource: str) -> bool:
        """Return whether it states how much of a resource it takes; without GPUs it has none."""
        return resource in (KERNELS, GPUS) or resource in self.amounts


@dataclass(frozen=True)
class KernelQuota:
    """The most that kernels may be, and use, at once.

    Attributes:
        most: the number of kernels of all users together; 0: unlimited.
        most_per_user: the number of kernels of each user; 0: unlimited.
        each_user: the CPUs, bytes of memory and GPUs of each user.
        users: by name, amounts that come before those of each user; None: unlimited.
        groups: by name, the amounts of all members together.
    """

    most: int = 0
    most_per_user: int = 0
    each_user: Amounts = field(default_factory=dict)
    users: Mapping[str, Mapping[str, Fraction | None]] = field(default_factory=dict)
    groups: Mapping[str, Amounts] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.most or self.most_per_user or self.each_user or self.users or self.groups)

    def refusal(
        self, others: Iterable[KernelUsage], new: KernelUsage, *, is_complete: bool = True
    ) -> PolicyViolation | None:
        """Return the error if one more kernel would exceed a quota.

        Args:
            others: the kernels that came before it; it is not counted itself, if it is restarted.
            is_complete: whether `new` has the engine's defaults, so that amounts which are still missing
                would be unlimited.
        """
        running = {other.kernel_id: other for other in others}
        running.pop(new.kernel_id, None)
        if self.most and len(running) >= self.most:
            return TooManyKernels.at_limit(self.most)
        for share in self._shares(running.values(), new):
            for resource, limit in share.limits.items():
                needed = new.amount(resource)
                if is_complete and not new.states(resource):
                    return share.unstated(resource)
                if needed and share.used(resource) + needed > limit:
                    return share.exceeded(resource)
        return None

    def _shares(self, running: Iterable[KernelUsage], new: KernelUsage) -> Iterator[_Share]:
        if limits := self._limits_of(new.username):
            of_user = [each for each in running if each.username == new.username]
            yield _Share(f"user {quoted(new.username)}", limits, of_user, new)
        for group in sorted(self.groups.keys() & new.groups):
            of_group = [each for each in running if group in each.groups]
            yield _Share(f"group {quoted(group)}", self.groups[group], of_group, new)

    def _limits_of(self, username: str) -> Amounts:
        limits = {
            KERNELS: Fraction(self.most_per_user) if self.most_per_user else None,
            **self.each_user,
            **self.users.get(username, {}),
        }
        return {resource: limit for resource, limit in limits.items() if limit is not None}


@dataclass(frozen=True)
class _Share:
    """One user's or group's quota, the kernels that count for it, and the one to start."""

    holder: str
    limits: Amounts
    running: Sequence[KernelUsage]
    new: KernelUsage

    def used(self, resource: str) -> Fraction:
        return _sum(self.running, resource)

    def unstated(self, resource: str) -> PolicyViolation:
        noun = "memory" if resource == MEMORY else f"{_NOUNS[resource]}s"
        return PolicyViolation(
            f"This kernel has neither a limit nor a request for {noun}, and {self.holder} has a quota of "
            f"{noun}. Set {_VARIABLES[resource]}, or ask the administrator to set resources for each of the "
            "kernel's containers."
        )

    def exceeded(self, resource: str) -> PolicyViolation:
        limit, used, needed = self.limits[resource], self.used(resource), self.new.amount(resource)
        most = _text(resource, limit, floor)
        if resource == KERNELS:
            cause = f"Too many kernels: {self.holder} may run at most {most} at once"
            cause += f" and has {used}." if needed <= limit else "."
            return TooManyKernels(f"{cause} {self._advice(resource)}")
        too = "Too much memory" if resource == MEMORY else f"Too many {_NOUNS[resource]}s"
        cause = f"{too}: {self.holder} may use at most {most} at once"
        if needed <= limit:
            users = [each for each in self.running if each.amount(resource)]
            verb = "uses" if len(users) == 1 else "use"
            cause += f"; {_text(KERNELS, Fraction(len(users)))} {verb} {_text(resource, used)}"
        cause += f", and this one needs {_text(resource, needed)}."
        return TooManyResources(f"{cause} {self._advice(resource)}")

    def _advice(self, resource: str) -> str:
        limit, used, needed = self.limits[resource], self.used(resource), self.new.amount(resource)
        if needed > limit:
            less = f"Ask for less with {_VARIABLES[resource]}, or ask" if limit else "Ask"
            return f"{less} the administrator for a larger quota."
        # Other owners' kernels are counted, but not shown.
        own = [
            each for each in self.running if each.owner == self.new.owner and each.amount(resource)
        ]
        excess = _text(resource, used + needed - limit)
        if _sum(own, resource) >= used + needed - limit:
            advice = (
                f"Shut down {excess} of yours"
                if resource == KERNELS
                else (f"Shut down kernels of yours that use {excess} or more")
            )
        elif own:
            advice = "Shut down your kernels and wait until others have shut down theirs"
        else:
            advice = "Wait until others have shut down theirs"
        room = _text(resource, limit - used, floor) if used < limit else ""
        if room:
            advice += f", or ask for at most {room} with {_VARIABLES[resource]}"
        return f"{advice}." + (f" Yours: {_listed(own, resource)}." if own else "")


def _sum(kernels: Iterable[KernelUsage], resource: str) -> Fraction:
    return sum((each.amount(resource) for each in kernels), _ZERO)


def _listed(kernels: Sequence[KernelUsage], resource: str) -> str:
    """Name kernels of one owner, those first that use most."""
    by_amount = sorted(kernels, key=lambda each: (-each.amount(resource), each.kernel_id))
    named = [_described(each, resource) for each in by_amount[:_MOST_NAMED]]
    more = len(kernels) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _described(kernel: KernelUsage, resource: str) -> str:
    text = quoted(kernel.kernel_name)
    if kernel.owner:  # else the client need not be the one who started it
        text += f" ({kernel.kernel_id})"
    return text if resource == KERNELS else f"{text}: {_text(resource, kernel.amount(resource))}"


def _text(resource: str, value: Fraction, rounded: Callable[[Fraction], int] = ceil) -> str:
    """Return an amount in words; not a whole number, it is rounded to a few digits."""
    if resource == MEMORY:
        unit = next((name for name, size in _BYTES.items() if value >= size), "")
        return f"{_decimal(value / _BYTES.get(unit, 1), rounded)}{unit or ' bytes'} of memory"
    return f"{_decimal(value, rounded)} {_NOUNS[resource]}{'' if value == 1 else 's'}"


def _decimal(value: Fraction, rounded: Callable[[Fraction], int]) -> str:
    whole, thousandths = divmod(rounded(value * 1000), 1000)
    return f"{whole}.{thousandths:03}".rstrip("0").rstrip(".")
