"""Quotas at the moment when a kernel's pod exists."""

from dataclasses import replace
from fractions import Fraction

import pytest
from kernel_specs import KERNEL

from gateway_provisioners.errors import PolicyViolation, TooManyKernels
from gateway_provisioners.kube.pods import KernelPods
from gateway_provisioners.model.pod.manifest import build_pod
from gateway_provisioners.model.quota import CPUS, KernelQuota
from unit.launches import new_progress


class Api:
    """An API server whose watch reports a pod, with what `adds` adds to it, before it answers."""

    def __init__(self):
        self.before = []
        self.adds = {}
        self.deleted = []

    def collection(self, *_kind_and_namespace, **_selectors):
        return None

    async def create_pod(self, _namespace, manifest):
        for name, kernel_id in self.before:
            self.report(replace(KERNEL, name=name, kernel_id=kernel_id))
        return self.report(KERNEL, manifest)

    def report(self, kernel, manifest=None, change="ADDED"):
        created = manifest or build_pod(kernel)
        created["metadata"] |= {"resourceVersion": "1", "uid": "1"}
        created["spec"]["containers"][0]["resources"] |= self.adds
        self.pods.cache._changed(change, created)
        return created

    async def create_secret(self, *_arguments):
        pass

    async def patch_pod(self, *_arguments, **_options):
        pass

    async def delete_pod(self, _namespace, name, *, grace_seconds):
        self.deleted.append(name)


def limited(quota):
    pods = KernelPods(Api(), "kernels", instance="ours", process="a", quota=quota)
    pods.api.pods = pods
    return pods


async def remove_under_way(pods):
    await pods._removals.finish()
    return pods.api.deleted


async def test_limits_are_those_of_the_pod_that_exists():
    pods = limited(KernelQuota(each_user={CPUS: Fraction(2)}))
    with pytest.raises(PolicyViolation, match="neither a limit nor a request for CPUs"):
        await pods.create(KERNEL, new_progress())
    assert await remove_under_way(pods) == ["a-1"]

    pods = limited(KernelQuota(each_user={CPUS: Fraction(2)}))
    pods.api.adds = {"limits": {"cpu": "2"}}  # by a LimitRange
    await pods.create(KERNEL, new_progress())
    assert await remove_under_way(pods) == []


async def test_the_pod_that_was_made_later_yields():
    pods = limited(KernelQuota(most_per_user=1))
    pods.api.before = [("b-1", "b")]
    with pytest.raises(TooManyKernels):
        await pods.create(KERNEL, new_progress())
    assert await remove_under_way(pods) == ["a-1"]


async def test_a_kernel_beyond_a_quota_is_refused_before_it_has_a_pod():
    pods = limited(KernelQuota(most_per_user=1))
    other = replace(KERNEL, name="b-1", kernel_id="b")
    pods.api.report(other)
    with pytest.raises(TooManyKernels):
        await pods.create(KERNEL, new_progress())
    with pytest.raises(TooManyKernels):
        pods.refuse_beyond_quota(KERNEL)
    assert pods.api.deleted == []
    pods.api.report(other, change="DELETED")
    await pods.create(KERNEL, new_progress())
