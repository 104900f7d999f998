"""Errors of the client library as ClusterError. Nothing is sent anywhere."""

import pytest
from kubernetes.aio import client

from gateway_provisioners.errors import ClusterError
from gateway_provisioners.kube.api import KubeApi
from gateway_provisioners.model.pod.api_refusal import creation_failure


@pytest.fixture
async def api():
    api = KubeApi(client.ApiClient(client.Configuration(host="http://127.0.0.1:1")))
    yield api
    await api.close()


async def test_a_pod_that_the_library_refuses_is_reported_as_invalid(api):
    container = {"name": "kernel", "ports": "s3cret", "stdin": "s3cret"}
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}}
    with pytest.raises(ClusterError) as refusal:
        await api.create_pod("kernels", pod)
    error = refusal.value
    assert str(error) == (
        "spec.containers.0.ports: Input should be a valid list; "
        "spec.containers.0.stdin: Input should be a valid boolean"
    )
    failure = creation_failure(status=error.status, api_reason=error.api_reason, message=str(error))
    assert failure.reason == "InvalidPod"


async def test_a_server_that_does_not_exist(api):
    with pytest.raises(ClusterError) as refusal:
        await api.create_pod("kernels", {"spec": {"containers": []}})
    assert refusal.value.status == 0
