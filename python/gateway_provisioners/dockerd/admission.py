"""The quotas of kernels on one engine, all of which one process starts."""

from __future__ import annotations

from gateway_provisioners.model.quota import KernelQuota, KernelUsage


class Admission:
    """Counts the kernels of one instance, by workload, from before they are made until they are ended."""

    def __init__(self, quota: KernelQuota) -> None:
        self._quota = quota
        self._usages: dict[str, KernelUsage] = {}

    def admit(self, name: str, usage: KernelUsage) -> None:
        """Count a workload that is about to be made.

        Raises:
            PolicyViolation: it would exceed a quota.
        """
        if refusal := self._quota.refusal(self._usages.values(), usage):
            raise refusal
        self._usages[name] = usage

    def adopt(self, name: str, usage: KernelUsage) -> None:
        """Count a workload that another process made."""
        self._usages[name] = usage

    def dismiss(self, name: str) -> None:
        """Stop counting a workload: it is ended, or another one of its kernel replaced it."""
        self._usages.pop(name, None)
