"""The creation of a pod against an API that refuses for a while."""

from dataclasses import replace

import pytest
from kernel_specs import KERNEL

from gateway_provisioners.errors import ClusterError
from gateway_provisioners.kube import pod_creation
from gateway_provisioners.kube.pod_creation import PodCreation
from gateway_provisioners.model.pod.api_refusal import passes
from gateway_provisioners.model.pod.manifest import SECRET_GATE, build_pod
from unit.launches import new_progress

NO_ANSWER = ClusterError("no answer in time")
EXISTS = ClusterError("exists", status=409, api_reason="AlreadyExists")
FORBIDDEN = ClusterError("forbidden", status=403, api_reason="Forbidden")


class Api:
    """An API server that gives these answers, one for each request."""

    def __init__(self, *answers, pods=()):
        self._answers = list(answers)
        self._pods = list(pods)
        self.requests = 0

    def _answer(self):
        self.requests += 1
        answer = self._answers.pop(0) if self._answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def create_pod(self, _namespace, _manifest):
        return self._answer()

    async def create_secret(self, _namespace, _manifest):
        return self._answer()

    async def patch_pod(self, _namespace, _name, _patch, *, content_type):
        return self._answer()

    def collection(self, _kind, _namespace, *, label_selector):
        assert label_selector == "kernel_id=a"
        return self

    async def list(self):
        return self._pods, "1"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(pod_creation, "_BACKOFF", pod_creation.Backoff(0, 0))


def creation(api, *, timeout=60.0, progress=None, **changes):
    return PodCreation(
        api,
        replace(KERNEL, operator="us", **changes),
        timeout=timeout,
        progress=progress or new_progress(),
    )


def stored(operator):
    return build_pod(replace(KERNEL, operator=operator))


@pytest.mark.parametrize(
    "refusal",
    [
        NO_ANSWER,
        ClusterError("too many requests", status=429, api_reason="TooManyRequests"),
        ClusterError("etcdserver: leader changed", status=500, api_reason="InternalError"),
        ClusterError('failed calling webhook "v": connection refused', status=500),
        ClusterError("unavailable", status=503, api_reason="ServiceUnavailable"),
        ClusterError(
            'Operation cannot be fulfilled on resourcequotas "q": the object has been modified',
            status=409,
            api_reason="Conflict",
        ),
    ],
    ids=str,
)
async def test_a_refusal_that_passes_is_waited_for(refusal):
    api = Api(refusal, refusal, {"kind": "Pod"})
    assert await creation(api).create_pod({}) == {"kind": "Pod"}
    api = Api(refusal)
    await creation(api).create_secret({})
    assert api.requests == 2
    api = Api(refusal)
    await creation(api).open_gate({"spec": {"schedulingGates": [{"name": SECRET_GATE}]}})
    assert api.requests == 2


async def test_after_the_timeout_every_refusal_is_final():
    with pytest.raises(ClusterError, match="no answer"):
        await creation(Api(NO_ANSWER), timeout=0).create_pod({})


async def test_a_refusal_that_does_not_pass_is_final_at_once():
    api = Api(FORBIDDEN)
    with pytest.raises(ClusterError, match="forbidden"):
        await creation(api).create_pod({})
    assert api.requests == 1


async def test_a_pod_created_without_an_answer_is_this_launchs_own():
    pod = stored("us")
    assert await creation(Api(NO_ANSWER, EXISTS, pods=[pod])).create_pod({}) == pod
    await creation(Api(NO_ANSWER, EXISTS)).create_secret({})


@pytest.mark.parametrize("pods", [[stored("them")], []])
async def test_a_pod_of_another_gateway_is_not_taken(pods):
    with pytest.raises(ClusterError, match="exists"):
        await creation(Api(NO_ANSWER, EXISTS, pods=pods)).create_pod({})


async def test_a_pod_that_exists_at_the_first_request_is_not_taken():
    with pytest.raises(ClusterError, match="exists"):
        await creation(Api(EXISTS, pods=[stored("us")])).create_pod({})


@pytest.mark.parametrize("is_restart", [True, False])
def test_only_a_restart_waits_for_the_quota_to_forget_its_pod(is_restart):
    message = "pods is forbidden: exceeded quota: small"
    passing = passes(status=403, api_reason="Forbidden", message=message, is_restart=is_restart)
    assert passing == is_restart
